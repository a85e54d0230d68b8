"""A timed breaker: when a part that answers over the network is asked, and when it is not."""

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from domain.errors import Unavailable


class BreakerState(StrEnum):
    """CLOSED lets all through, OPEN none, HALF_OPEN one that tries."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerOpen(Unavailable):
    """The part failed too often just now; nothing was sent."""


class BreakerPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Opens after `failures` in a row; each time it opens anew it stays so for twice as long."""

    failures: int = 5
    first_pause: timedelta = timedelta(seconds=5)
    longest_pause: timedelta = timedelta(minutes=2)


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """A breaker at one moment; every act gives the next one.

    `failures` counts those in a row, `opened` the openings since it last closed.
    """

    policy: BreakerPolicy = BreakerPolicy()
    state: BreakerState = BreakerState.CLOSED
    since: datetime
    reason: str = ""
    failures: int = 0
    opened: int = 0
    retry_at: datetime | None = None

    def admitted(self, now: datetime) -> "Breaker":
        """The breaker with one more request under way. Raises BreakerOpen."""
        if self.state is BreakerState.CLOSED:
            return self
        if self.state is BreakerState.OPEN and self.retry_at is not None and now >= self.retry_at:
            return self._to(BreakerState.HALF_OPEN, now, self.reason)
        wait = self.retry_at - now if self.retry_at is not None and self.retry_at > now else None
        raise BreakerOpen(f"It failed {self.failures} times: {self.reason}", retry_after=wait)

    def succeeded(self, now: datetime) -> "Breaker":
        """After an answer, whatever it says."""
        since = self.since if self.state is BreakerState.CLOSED else now
        return Breaker(policy=self.policy, since=since)

    def failed(self, now: datetime, reason: str) -> "Breaker":
        """After no answer."""
        failures = self.failures + 1
        if self.state is BreakerState.CLOSED and failures < self.policy.failures:
            return msgspec.structs.replace(self, failures=failures, reason=reason)
        doublings = min(self.opened, 10)
        pause = min(self.policy.first_pause * (1 << doublings), self.policy.longest_pause)
        return msgspec.structs.replace(
            self._to(BreakerState.OPEN, now, reason),
            failures=failures,
            opened=self.opened + 1,
            retry_at=now + pause,
        )

    def abandoned(self, now: datetime) -> "Breaker":
        """After a request that was given up by its caller: a trial goes to the next one."""
        if self.state is not BreakerState.HALF_OPEN:
            return self
        return msgspec.structs.replace(self._to(BreakerState.OPEN, now, self.reason), retry_at=now)

    def _to(self, state: BreakerState, now: datetime, reason: str) -> "Breaker":
        return msgspec.structs.replace(self, state=state, since=now, reason=reason, retry_at=None)
