"""The header Idempotency-Key: a caller's name for one act.

Its value is a string as draft-ietf-httpapi-idempotency-key-header writes it, in quotes, or the
same characters bare.
"""

import hashlib
import re
from typing import Annotated, Any

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.handlers.base import BaseRouteHandler
from litestar.params import HeaderParameter, SkipValidation

from domain.errors import Invalid
from domain.model.keys import IdempotencyKey, Once
from entrypoints.http.problems import ParameterInvalid
from entrypoints.http.requests import decoded

NAME = b"idempotency-key"
BARE = re.compile(r"[!#-~][!-~]{0,254}")
QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\]){1,255})"')
# RFC 9651, section 3.3.3: a string holds visible ASCII and spaces, `"` and `\` behind a `\`.
Header = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        description="The caller's own name for this request, kept for 24 hours: the same request "
        "under the same key is carried out once and answered alike each time. Another request "
        "under it is refused with 422, one whose first is still under way with 409. A request "
        "that was refused leaves its key free.",
    ),
]


class KeyNotTaken(Invalid):
    """A stream cannot be answered twice: this route takes no idempotency key."""


async def _once(request: Request[Any, Any, State], idempotency_key: Header = None) -> Once | None:
    """Raises ParameterInvalid, MalformedJson."""
    if idempotency_key is None:
        return None
    names = [name for name, _ in request.scope["headers"]]
    key = _key(idempotency_key) if names.count(NAME) == 1 else None
    if key is None:
        raise ParameterInvalid(
            "Idempotency-Key is given once, as 1 to 255 visible ASCII characters, bare or in "
            "quotes."
        )
    route = f"{request.method} {request.scope['path_template']}"
    body = msgspec.json.encode(decoded(await request.body(), Any), order="sorted")
    digest = hashlib.sha256(b"%s\n%s" % (route.encode(), body)).hexdigest()
    return Once(key=key, fingerprint=digest)


def _key(text: str) -> IdempotencyKey | None:
    if BARE.fullmatch(text):
        return IdempotencyKey(text)
    quoted = QUOTED.fullmatch(text)
    return IdempotencyKey(re.sub(r"\\(.)", r"\1", quoted[1])) if quoted else None


def refuse_key(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Raises KeyNotTaken where a key is given: ignored in silence it would promise too much."""
    if any(name == NAME for name, _ in connection.scope["headers"]):
        raise KeyNotTaken(
            "This route takes no Idempotency-Key: send the message to /api/v1/chat under it, or "
            "follow a task that was submitted under it."
        )


ONCE = {"once": Provide(_once)}
# What a route needs to take the header; its argument is `once: Key`.
Key = NamedDependency[SkipValidation[Once | None]]
