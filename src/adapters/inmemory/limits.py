"""Buckets of tokens within one process."""

from datetime import timedelta

from domain.ports.limits import Rate, Taken
from domain.ports.system import Clock

SWEEP_ABOVE = 1024
# So many buckets cost some 100 kB; looking for full ones among fewer is not worth the time.
_US = timedelta(microseconds=1)


class MemoryRateLimits:
    """Keeps of each bucket that is not full when it will be."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._full_at: dict[str, int] = {}
        self._sweep_above = SWEEP_ABOVE

    async def take(self, key: str, rate: Rate, tokens: int = 1) -> Taken:
        if tokens > rate.burst:
            raise ValueError(tokens)
        now, refill = int(self._clock.monotonic() * 1_000_000), rate.refill // _US
        size = rate.burst * refill
        full_at = min(max(self._full_at.get(key, now), now), now + size)
        after = full_at + tokens * refill
        wait = after - size - now
        if wait > 0:
            left = (size - (full_at - now)) // refill
            return Taken(allowed=False, remaining=left, retry_after=wait * _US)
        self._full_at[key] = after
        if len(self._full_at) > self._sweep_above:
            self._forget_full(now)
        return Taken(
            allowed=True, remaining=(size - (after - now)) // refill, retry_after=timedelta()
        )

    def _forget_full(self, now: int) -> None:
        """Drop what is full again; what is left may double before the next look."""
        self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > now}
        self._sweep_above = max(SWEEP_ABOVE, 2 * len(self._full_at))
