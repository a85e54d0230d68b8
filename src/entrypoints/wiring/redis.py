"""Sharing over Redis."""

from contextlib import AsyncExitStack
from datetime import timedelta

from adapters.redis.buckets import RedisRateLimits
from adapters.redis.cache import RedisCache
from adapters.redis.connections import RedisUrlInvalid
from adapters.redis.link import RedisLink, RedisUnavailable
from adapters.redis.probe import RedisProbe
from adapters.redis.signals import RedisSignals
from domain.ports.system import Chance
from entrypoints.wiring.shared import Shared

SETTING = "SUTAZAI_REDIS_URL"


async def over_redis(
    url: str, within_s: float, alone: Shared, chance: Chance, stack: AsyncExitStack
) -> Shared:
    """The ports over a Redis that was reached; those of `alone` serve while it is away.

    Raises:
        RedisUnavailable: it cannot be reached in time, or refuses the password.
        RedisUrlInvalid: the URL holds options that nobody knows.
    """
    try:
        link = RedisLink(url, chance)
        stack.push_async_callback(link.aclose)
        await link.start(timedelta(seconds=within_s))
    except (RedisUnavailable, RedisUrlInvalid) as failure:
        raise type(failure)(f"{SETTING}: {failure.message}") from failure
    signals = RedisSignals(link, alone.signals, chance.new_id())
    stack.push_async_callback(signals.aclose)
    signals.start()
    return Shared(
        signals=signals,
        cache=RedisCache(link, alone.cache),
        limits=RedisRateLimits(link, alone.limits),
        probe=RedisProbe(link),
    )
