"""How often a caller may use a group of routes, and what their answers say of it.

The header fields are those of draft-ietf-httpapi-ratelimit-headers-11.
"""

import math
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum

from litestar.types import Scope

from domain.model.callers import Caller
from domain.ports.limits import Rate, RateLimits, Taken
from entrypoints.http.problems import TooManyRequests
from entrypoints.http.requests import caller_of

MINUTE = timedelta(minutes=1)


class Quota(StrEnum):
    """A group of routes that are counted together; the name of its policy in the fields."""

    CHAT = "chat"
    TASKS = "tasks"
    TOOL_CALLS = "tool-calls"


class RouteLimits:
    """Counts requests by caller and quota; without a number, or at 0, there is no limit.

    Whoever was idle for a minute may send a whole minute's requests at once, and from then on
    one whenever its share of the minute has passed.
    """

    def __init__(self, limits: RateLimits, per_minute: Mapping[Quota, int]) -> None:
        self._limits = limits
        self._rates = {
            quota: Rate(burst=most, refill=MINUTE / most)
            for quota, most in per_minute.items()
            if most
        }

    def rate_of(self, quota: Quota) -> Rate | None:
        """None where there is no limit."""
        return self._rates.get(quota)

    async def count(self, scope: Scope, quota: Quota, rate: Rate) -> None:
        """Count a request. Raises TooManyRequests; a request that is refused does not count."""
        taken = await self._limits.take(f"{quota}:{caller_of(scope).id}", rate)
        scope["state"]["fields"] += _fields(quota, rate, taken)
        if not taken.allowed:
            raise TooManyRequests(
                f"At most {rate.burst} requests a minute are taken here from one caller.",
                retry_after=taken.retry_after,
                policy=quota.value,
            )


async def counted_caller(scope: Scope, quota: Quota) -> Caller:
    """Who asks, once the request is counted. Raises TooManyRequests."""
    limits: RouteLimits = scope["litestar_app"].state["limits"]
    if (rate := limits.rate_of(quota)) is not None:
        await limits.count(scope, quota, rate)
    return caller_of(scope)


def _fields(quota: Quota, rate: Rate, taken: Taken) -> tuple[tuple[bytes, bytes], ...]:
    """The policy, and how long what is left will do.

    Who spreads the `r` requests that are left over the next `t` seconds is never refused; where
    none is left `t` is when the next one comes, as in Retry-After.
    """
    lasts = taken.retry_after or max(taken.remaining, 1) * rate.refill
    seconds = math.ceil(lasts.total_seconds())
    return (
        (b"ratelimit-policy", f'"{quota}";q={rate.burst};w=60'.encode()),
        (b"ratelimit", f'"{quota}";r={taken.remaining};t={seconds}'.encode()),
    )
