"""Time, chance and fresh ids: what makes a run differ from its replay."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """The time, twice."""

    def now(self) -> datetime:
        """The wall clock in UTC, for people and rows; it may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds from an unknown start, never falling; for durations and deadlines.

        It is the clock of the running event loop, so `asyncio.timeout_at` takes its values.
        """
        ...


class Chance(Protocol):
    """The one source of randomness and of fresh ids, so that a seed replays a run."""

    def fraction(self) -> float:
        """At least 0, less than 1, evenly spread; for jitter and tie breaks."""
        ...

    def new_id(self) -> str:
        """A fresh id: unique everywhere; later ids of one process sort after earlier ones."""
        ...
