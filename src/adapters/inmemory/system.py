"""Time and chance in the hands of a test or a simulation."""

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

STARTED = datetime(2026, 1, 1, tzinfo=UTC)
# Any instant does; a fixed one makes runs alike.


class ManualClock:
    """A clock that moves only when it is told to."""

    def __init__(self, now: datetime = STARTED) -> None:
        self._started = now
        self._passed = timedelta()

    def now(self) -> datetime:
        return self._started + self._passed

    def monotonic(self) -> float:
        return self._passed.total_seconds()

    def advance(self, by: timedelta) -> None:
        """Let time pass; never backwards."""
        if by < timedelta():
            raise ValueError(by)
        self._passed += by


class SeededChance:
    """The same fractions and ids in the same order for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - it is meant to be repeatable
        self._count = 0

    def fraction(self) -> float:
        return self._random.random()

    def new_id(self) -> str:
        self._count += 1
        return str(UUID(int=self._count << 80 | 7 << 76 | 2 << 62 | self._random.getrandbits(62)))
