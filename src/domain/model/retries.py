"""How long work rests between two attempts."""

from datetime import timedelta

import msgspec


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How long a task rests between attempts: `first_delay`, then `factor` times as long each.

    By default 1, 2, 4 s and so on, at most a minute.
    """

    first_delay: timedelta = timedelta(seconds=1)
    factor: float = 2.0
    longest_delay: timedelta = timedelta(seconds=60)

    def delay(self, attempt: int) -> timedelta:
        """The rest after the attempt of this number, which counts from 1."""
        first_s, longest_s = self.first_delay.total_seconds(), self.longest_delay.total_seconds()
        try:
            grown_s = first_s * self.factor ** (attempt - 1)
        except OverflowError:
            grown_s = longest_s
        return timedelta(seconds=min(grown_s, longest_s))


DEFAULT_RETRY = RetryPolicy()
