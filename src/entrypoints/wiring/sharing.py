"""Sharing over Redis where it is set, else within one process."""

from contextlib import AsyncExitStack

from adapters.inmemory.cache import MemoryCache
from adapters.inmemory.limits import MemoryRateLimits
from adapters.inmemory.signals import MemorySignals
from domain.health import CacheProbe
from domain.ports.system import Chance, Clock
from entrypoints.settings.values import Settings
from entrypoints.wiring.shared import Shared


async def opened_shared(
    settings: Settings, clock: Clock, chance: Chance, stack: AsyncExitStack
) -> Shared:
    """Those over Redis where it is set, else those of one process alone; the stack closes them.

    Raises RedisUnavailable, RedisUrlInvalid.
    """
    cache = MemoryCache(clock)
    alone = Shared(
        signals=MemorySignals(),
        cache=cache,
        limits=MemoryRateLimits(clock),
        probe=CacheProbe(cache, clock),
    )
    if settings.redis_url is None:
        return alone
    # redis takes 19 MB: imported only where it is set.
    from entrypoints.wiring.redis import over_redis  # noqa: PLC0415

    url, within_s = settings.redis_url.reveal(), settings.startup_timeout_s
    return await over_redis(url, within_s, alone, chance, stack)
