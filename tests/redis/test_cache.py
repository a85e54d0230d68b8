"""The cache among others on its server."""

from datetime import timedelta

import pytest
from redis.asyncio import Redis as Client

from domain.ports.limits import Rate
from tests.real.redis import Redis
from tests.redis.sides import Side, side

pytestmark = [pytest.mark.services, pytest.mark.anyio]

MINUTE = timedelta(minutes=1)


async def test_processes_share_answers_and_counts(one: Side, other: Side) -> None:
    await one.cache.put("a", b"1", MINUTE)
    assert await other.cache.get("a") == b"1"
    assert await one.cache.get("b") is None
    assert await other.cache.stats() == await one.cache.stats()
    stats = await one.cache.stats()
    assert (stats.backend, stats.entries, stats.hits, stats.misses) == ("redis", 1, 1, 1)


async def test_clearing_touches_nothing_but_this_systems_answers(
    one: Side, redis_url: str, prefix: str
) -> None:
    rate = Rate(burst=1, refill=MINUTE)
    async with Client.from_url(redis_url) as client:
        await client.set(f"{prefix}else", b"1", ex=60)
        await client.set(f"else:{prefix}cache:a", b"1", ex=60)
        await one.limits.take("a", rate)
        await one.cache.put("a", b"1", MINUTE)
        assert await one.cache.clear() == 1
        assert await client.get(f"{prefix}else") == b"1"
        assert await client.get(f"else:{prefix}cache:a") == b"1"
        assert not (await one.limits.take("a", rate)).allowed


async def test_evictions_are_the_servers(server: Redis, prefix: str) -> None:
    async with side(server.url, prefix) as process, Client.from_url(server.url) as client:
        assert (await process.cache.stats()).evictions == 0
        used = (await client.info("memory"))["used_memory"]
        await client.config_set("maxmemory-policy", "allkeys-lru")
        await client.config_set("maxmemory", used + 200_000)
        for number in range(50):
            await process.cache.put(f"{number}", b"x" * 20_000, MINUTE)
        stats = await process.cache.stats()
        assert stats.evictions > 0
        assert 0 < stats.entries < 50


async def test_nothing_of_a_system_stays_for_ever_but_its_counts(
    one: Side, redis_url: str, prefix: str
) -> None:
    await one.limits.take("a", Rate(burst=5, refill=MINUTE))
    await one.cache.put("a", b"1", MINUTE)
    await one.cache.get("a")
    async with Client.from_url(redis_url) as client:
        lasting = {key async for key in client.scan_iter(f"{prefix}*") if await client.ttl(key) < 0}
    assert lasting == {f"{prefix}cached".encode()}
