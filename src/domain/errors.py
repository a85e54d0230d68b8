"""The five kinds of failure, by what the caller can do about them."""

from datetime import timedelta
from typing import ClassVar


class Failure(Exception):
    """Something that went wrong and that a caller can act on.

    The message is one sentence that is safe to show: it names ids and limits, never secrets,
    SDK objects or another exception's text. `details` carries the same facts as values.
    Concrete failures live beside their noun.
    """

    kind: ClassVar[str] = "failure"

    def __init__(self, message: str, **details: object) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class Invalid(Failure):
    """The request is wrong: change it before asking again."""

    kind = "invalid"


class Forbidden(Failure):
    """The caller may not do this."""

    kind = "forbidden"


class NotFound(Failure):
    """The named thing does not exist."""

    kind = "not-found"


class Conflict(Failure):
    """The thing's present state does not allow this."""

    kind = "conflict"


class Unavailable(Failure):
    """A part that is needed cannot serve now: the same request may succeed later.

    `retry_after` is the earliest time at which a repeat makes sense, None where unknown.
    """

    kind = "unavailable"

    def __init__(
        self, message: str, *, retry_after: timedelta | None = None, **details: object
    ) -> None:
        super().__init__(message, **details)
        self.retry_after = retry_after
