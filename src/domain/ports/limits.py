"""How often something may be done: buckets of tokens that fill again with time."""

from datetime import timedelta
from typing import Protocol

import msgspec


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """A bucket of `burst` tokens, at least one; a token that was taken is back after `refill`.

    Tokens come back one after the other. `refill` is at least a microsecond, the unit in which
    every adapter counts.
    """

    burst: int
    refill: timedelta


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a wish for tokens.

    `remaining` are the whole tokens that are left now. `retry_after` is when the same wish would
    be granted if nobody else takes any; zero where it was granted.
    """

    allowed: bool
    remaining: int
    retry_after: timedelta


class RateLimits(Protocol):
    """Buckets by key, each full until somebody takes from it."""

    async def take(self, key: str, rate: Rate, tokens: int = 1) -> Taken:
        """Take so many tokens from the bucket `key` if they are there, else none.

        Of many takers at the same moment, in whatever process, as many are let through as there
        are tokens. A refusal costs nothing: it neither takes tokens nor puts off their return.
        The rate may differ from the last take's: the bucket then holds at most the new burst.
        More tokens than the burst would never be there: asking for them is a ValueError.
        """
        ...
