"""One process's side of Redis, as many of them as a test needs."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import msgspec

from adapters.inmemory.cache import MemoryCache
from adapters.inmemory.limits import MemoryRateLimits
from adapters.inmemory.signals import MemorySignals
from adapters.redis.buckets import RedisRateLimits
from adapters.redis.cache import RedisCache
from adapters.redis.link import RedisLink
from adapters.redis.probe import RedisProbe
from adapters.redis.signals import RedisSignals
from adapters.system import SystemChance, SystemClock

START = timedelta(seconds=10)


def new_prefix() -> str:
    """Names that nobody else uses on a server that tests share."""
    return f"sutazai-test-{secrets.token_hex(6)}:"


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """The ports of one process."""

    link: RedisLink
    signals: RedisSignals
    cache: RedisCache
    limits: RedisRateLimits
    probe: RedisProbe


@asynccontextmanager
async def side(url: str, prefix: str) -> AsyncIterator[Side]:
    """A process that has reached Redis."""
    clock, chance = SystemClock(), SystemChance()
    link = RedisLink(url, chance, prefix)
    try:
        await link.start(START)
        signals = RedisSignals(link, MemorySignals(), chance.new_id())
        signals.start()
        try:
            yield Side(
                link=link,
                signals=signals,
                cache=RedisCache(link, MemoryCache(clock)),
                limits=RedisRateLimits(link, MemoryRateLimits(clock)),
                probe=RedisProbe(link),
            )
        finally:
            await signals.aclose()
    finally:
        await link.aclose()
