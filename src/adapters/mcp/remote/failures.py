"""Why an exchange over HTTP brought no answer, and what that means for its session."""

import re
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum

import msgspec

UNAUTHORIZED = 401
FORBIDDEN = 403
NOT_FOUND = 404
METHOD_NOT_ALLOWED = 405
GONE = 410
TOO_MANY = 429
SERVER_ERROR = 500
OVERLOADED = 503
MAX_RETRY_AFTER = timedelta(hours=1)
# What a server asks for beyond this is more likely a mistake.
_ENDS = frozenset({UNAUTHORIZED, NOT_FOUND, GONE})


class Harm(StrEnum):
    """REFUSED and LOST concern one request, LOST with an unknown effect; FATAL ends the session.

    DOUBT is LOST for a call, which may be too much for a server that is well otherwise; a server
    that cannot even give a sign of life is not: there it is FATAL.
    """

    REFUSED = "refused"
    LOST = "lost"
    DOUBT = "doubt"
    FATAL = "fatal"


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """An exchange without an answer. `reason` is safe to show; `status` is 0 where none came.

    `sent` False: the server cannot know of the request.
    """

    reason: str
    harm: Harm
    status: int = 0
    sent: bool = True
    retry_after: timedelta | None = None


BROKEN = Failed(reason="the server broke the connection without an answer", harm=Harm.DOUBT)
BROKEN_OFF = Failed(reason="the server's answer broke off", harm=Harm.LOST)
UNANSWERED = Failed(reason="the server's response held no answer", harm=Harm.LOST)
TOO_LARGE = Failed(reason="the server's answer is too large", harm=Harm.REFUSED)
NOT_MCP = Failed(reason="the server's response is not MCP", harm=Harm.FATAL)


def unreachable(origin: str, detail: str) -> Failed:
    """No connection came about."""
    reason = f"the server at {origin} cannot be reached" + (f": {detail}" if detail else "")
    return Failed(reason=reason, harm=Harm.FATAL, sent=False)


def refusal(status: int, headers: Mapping[str, str], *, in_session: bool) -> Failed:
    """What a status other than success means, where the body says nothing better.

    A server that asks to be left alone for a while is alive: only the request is refused.
    """
    retry_after = _retry_after(headers.get("Retry-After", ""))
    reason, harm = f"the server answered HTTP {status}", Harm.REFUSED
    if status == NOT_FOUND and in_session:
        reason, harm = "the server has forgotten the session (HTTP 404)", Harm.FATAL
    elif status == TOO_MANY or (status == OVERLOADED and retry_after is not None):
        reason = f"the server takes no requests for a while (HTTP {status})"
    elif status < 400:  # noqa: PLR2004 - where the refusals begin
        reason, harm = f"{reason}, a redirection, which is not followed", Harm.FATAL
    elif status >= SERVER_ERROR:
        harm = Harm.DOUBT
    elif status in _ENDS:
        harm = Harm.FATAL
    return Failed(reason=reason, harm=harm, status=status, retry_after=retry_after)


def _retry_after(value: str) -> timedelta | None:
    """The header's seconds; its other form, a date, is not used by such servers."""
    if re.fullmatch(r"\d{1,9}", value) is None:
        return None
    return min(timedelta(seconds=int(value)), MAX_RETRY_AFTER)
