"""What routes learn of a request beyond its path: the caller, and a body read strictly."""

import re
from functools import cache
from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec
from litestar import Request
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import PathParameter, QueryParameter, SkipValidation
from litestar.types import Scope

from domain.model import callers
from domain.model.callers import Caller
from entrypoints.http.problems import BodyInvalid, MalformedJson

T = TypeVar("T")
Service: TypeAlias = NamedDependency[SkipValidation[T]]
# What the wiring made is of its type already; Litestar would look at it for each request.
Limit = Annotated[int, QueryParameter(ge=1, le=200, description="At most this many items.")]
Cursor = Annotated[
    str | None,
    QueryParameter(
        max_length=300, pattern=r"^[^\x00]*$", description="The `next_cursor` of the part before."
    ),
]
MOST_LEVELS = 100
# What is kept must be read again under any stack: Python's recursion is bounded at 1000.
NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
# PostgreSQL cannot keep it in a text.
TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]')
Id: TypeAlias = Annotated[str, PathParameter(pattern=r"^[^\x00]+$")]
Query: TypeAlias = Annotated[str | None, QueryParameter(pattern=r"^[^\x00]*$")]


class StrictRequest(Request[None, None, State]):
    """Reads a JSON body straight into the route's own type, where "1" is no number."""

    async def json(self) -> Any:
        """Raises MalformedJson, BodyInvalid."""
        field = self.route_handler.parsed_data_field
        body = await self.body()
        value = decoded(body, Any if field is None else field.annotation)
        if b"\\u0000" in body and NUL.search(body):
            raise BodyInvalid("The body holds the character NUL.", path="")
        if body.count(b"[") + body.count(b"{") > MOST_LEVELS and _levels(body) > MOST_LEVELS:
            raise BodyInvalid(f"The body is nested more than {MOST_LEVELS} deep.", path="")
        return value


def decoded(body: bytes, kind: Any) -> Any:
    """The body as a value of `kind`. Raises MalformedJson, BodyInvalid."""
    try:
        return _decoder(kind).decode(body)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        # Behind a key that is not known beforehand msgspec says `[...]`: the place ends there.
        where = where.rstrip("`").partition("[...]")[0]
        pointer = where.replace(".", "/").replace("[", "/").replace("]", "")
        raise BodyInvalid(f"{pointer or 'The body'}: {what}.", path=pointer) from error
    except RecursionError as error:
        raise BodyInvalid("The body is nested too deeply.", path="") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedJson(f"The body is not JSON: {error}.") from error


def _levels(body: bytes) -> int:
    """How deep a valid JSON text is nested."""
    level = deepest = 0
    for token in TOKEN.finditer(body):
        match token[0]:
            case b"[" | b"{":
                level += 1
                deepest = max(deepest, level)
            case b"]" | b"}":
                level -= 1
    return deepest


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def caller_of(scope: Scope) -> Caller:
    """Who asks, as the door found out."""
    caller: Caller = scope["state"]["caller"]
    return caller


def may_read(scope: Scope) -> None:
    """Raises ScopeMissing where who asks may not look at the system."""
    caller_of(scope).require(callers.Scope.READ)


def may_administer(scope: Scope) -> None:
    """Raises ScopeMissing where who asks may not change the system."""
    caller_of(scope).require(callers.Scope.ADMIN)
