"""The machine's own time and chance."""

import random
import secrets
import time
from datetime import UTC, datetime
from uuid import UUID

_TICKS_PER_MS = 1 << 12
_NS_PER_MS = 1_000_000


class SystemClock:
    """The wall clock, and the monotonic clock that asyncio's and uvloop's loops run on."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    monotonic = staticmethod(time.monotonic)


class SystemChance:
    """The system's own randomness; ids are UUIDs of version 7 (RFC 9562, method 3).

    48 bits of milliseconds and 12 of their fraction, which run ahead where ids come faster.
    """

    def __init__(self) -> None:
        self._random = random.SystemRandom()
        self._last = 0

    def fraction(self) -> float:
        return self._random.random()

    def new_id(self) -> str:
        self._last = max(time.time_ns() * _TICKS_PER_MS // _NS_PER_MS, self._last + 1)
        ms, fraction = divmod(self._last, _TICKS_PER_MS)
        return str(UUID(int=ms << 80 | 7 << 76 | fraction << 64 | 2 << 62 | secrets.randbits(62)))
