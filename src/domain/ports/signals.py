"""Wake-ups and live pieces between parts: hints, never the truth."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol


class Subscription(Protocol):
    """A listener's place on one topic."""

    async def next(self, wait_s: float) -> Mapping[str, Any] | None:
        """The next hint in order, or None after `wait_s` seconds without one.

        A listener too slow for its bounded queue loses the oldest hints.
        """
        ...


class Signals(Protocol):
    """Topics that anyone may hint on. A hint may be lost or come twice: listeners also poll."""

    def publish(self, topic: str, hint: Mapping[str, Any]) -> None:
        """Tell the present listeners of `topic`; never waits, never fails."""
        ...

    def subscribe(self, topic: str) -> AbstractAsyncContextManager[Subscription]:
        """Listen from now until the block is left."""
        ...
