"""The one table from what went wrong to what an HTTP caller is told (RFC 9457)."""

import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from domain.errors import Conflict, Failure, Forbidden, Invalid, NotFound, Unavailable
from domain.model.keys import KeyInFlight
from domain.model.tools import AnswerMalformed, CallInterrupted, CallTimedOut, PeerRefused
from domain.orchestration.gate import Busy, WaitedTooLong
from domain.ports.models import ModelRefused

INVALID_PARAMS = -32602
# JSON-RPC 2.0, section 5.1: the caller's arguments are at fault, not the server.


class MalformedJson(Invalid):
    """The body is not JSON."""


class BodyInvalid(Invalid):
    """The body is JSON of another shape than this route takes; `path` points at the fault."""


class ParameterInvalid(Invalid):
    """A query parameter or header has a value that it cannot have."""


class BodyBroken(Invalid):
    """The body did not come to its end: its framing is wrong, or the caller left."""


class BodyTooLarge(Invalid):
    """The body is longer than the system takes; `max_body_bytes` is the limit."""


class BodyTooSlow(Invalid):
    """The body did not come to its end in time."""


class MediaTypeUnsupported(Invalid):
    """The body is not declared as application/json."""


class HostMissing(Invalid):
    """The request has no Host header, or several."""


class HostRefused(Forbidden):
    """The Host header names another system: a sign of DNS rebinding."""


class OriginRefused(Forbidden):
    """A page of another origin asked."""


class KeyMissing(Forbidden):
    """The system has a key and the request does not carry it."""


class NoSuchRoute(NotFound):
    """Nothing is served under this path."""


class HttpMethodNotAllowed(Invalid):
    """The path is served, but not with this method."""


class NotServing(Unavailable):
    """The system is starting or stopping."""


class TooManyRequests(Unavailable):
    """The caller used up what is granted it here for now; `policy` names the quota."""


class TaskFailed(Unavailable):
    """The work was done durably and ended without a result; `task_id` names it."""


class InternalFault(Failure):
    """The system itself is at fault; the log holds the rest under the request's id."""


STATUS: Mapping[type[Failure], int] = MappingProxyType(
    {
        Failure: 500,
        InternalFault: 500,
        Invalid: 422,
        Forbidden: 403,
        NotFound: 404,
        Conflict: 409,
        Unavailable: 503,
        CallTimedOut: 504,
        WaitedTooLong: 504,
        Busy: 429,
        TooManyRequests: 429,
        CallInterrupted: 502,
        PeerRefused: 502,
        AnswerMalformed: 502,
        ModelRefused: 502,
        MalformedJson: 400,
        BodyBroken: 400,
        ParameterInvalid: 400,
        BodyTooLarge: 413,
        BodyTooSlow: 408,
        MediaTypeUnsupported: 415,
        HostMissing: 400,
        KeyMissing: 401,
        HttpMethodNotAllowed: 405,
    }
)

TASK_FAILED_STATUS: Mapping[str, int] = MappingProxyType(
    {
        Invalid.kind: 422,
        Forbidden.kind: 403,
        NotFound.kind: 404,
        Conflict.kind: 409,
        Unavailable.kind: 503,
        "deadline": 504,
        "cancelled": 409,
    }
)
# By the stable reason of a task's error; any other means that the work broke: 502.


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that is an error, ready to be sent."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class ProblemDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The members that every problem has; a failure's own facts stand beside them."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str


def status_of(failure: Failure) -> int:
    """The status of the nearest class in the table."""
    if isinstance(failure, PeerRefused) and failure.code == INVALID_PARAMS:
        return 422
    if isinstance(failure, TaskFailed):
        return TASK_FAILED_STATUS.get(str(failure.details.get("reason")), 502)
    return next(STATUS[cls] for cls in type(failure).__mro__ if cls in STATUS)


def problem_of(failure: Failure, request_id: str) -> Problem:
    """What the caller is told of a failure."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(failure).__name__).lower()
    status = status_of(failure)
    document = ProblemDocument(
        type=f"urn:sutazai:problem:{words.replace(' ', '-')}",
        title=words.capitalize(),
        status=status,
        detail=failure.message,
        request_id=request_id,
    )
    return Problem(
        status=status,
        headers=(
            ("content-type", "application/problem+json"),
            ("cache-control", "no-store"),
            *_own_headers(failure),
        ),
        body=msgspec.json.encode(_facts(failure.details) | msgspec.structs.asdict(document)),
    )


def _own_headers(failure: Failure) -> tuple[tuple[str, str], ...]:
    if isinstance(failure, Unavailable | KeyInFlight) and failure.retry_after is not None:
        return (("retry-after", str(max(1, math.ceil(failure.retry_after.total_seconds())))),)
    if isinstance(failure, KeyMissing):
        return (("www-authenticate", 'Bearer realm="sutazai"'),)
    if isinstance(failure, HttpMethodNotAllowed) and "allow" in failure.details:
        return (("allow", str(failure.details["allow"])),)
    return ()


def _facts(details: Mapping[str, object]) -> dict[str, Any]:
    """The details that JSON can say."""
    facts = {}
    for name, value in details.items():
        try:
            facts[name] = msgspec.Raw(msgspec.json.encode(value))
        except (TypeError, OverflowError):
            continue
    return facts
