"""What a cache promises."""

from datetime import timedelta

import pytest

from adapters.inmemory.cache import MemoryCache
from adapters.inmemory.system import ManualClock
from domain.ports.cache import Cache

pytestmark = pytest.mark.anyio

MINUTE = timedelta(minutes=1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def cache(clock: ManualClock) -> MemoryCache:
    return MemoryCache(clock, max_entries=3)


async def test_what_was_put_comes_back_until_its_time_is_over(
    cache: Cache, clock: ManualClock
) -> None:
    await cache.put("a", b"1", MINUTE)
    clock.advance(MINUTE - timedelta(milliseconds=1))
    assert await cache.get("a") == b"1"
    clock.advance(timedelta(milliseconds=1))
    assert await cache.get("a") is None


async def test_a_second_put_replaces_value_and_time(cache: Cache, clock: ManualClock) -> None:
    await cache.put("a", b"1", MINUTE)
    clock.advance(MINUTE / 2)
    await cache.put("a", b"2", MINUTE)
    clock.advance(MINUTE / 2)
    assert await cache.get("a") == b"2"


async def test_the_entry_that_nobody_asked_for_gives_way(cache: Cache) -> None:
    for key in ("a", "b", "c"):
        await cache.put(key, key.encode(), MINUTE)
    await cache.get("a")
    await cache.put("d", b"d", MINUTE)
    assert [await cache.get(key) for key in ("a", "b", "c", "d")] == [b"a", None, b"c", b"d"]
    assert (await cache.stats()).evictions == 1


async def test_an_entry_past_its_time_gives_way_first(cache: Cache, clock: ManualClock) -> None:
    await cache.put("old", b"", MINUTE * 10)
    await cache.put("short", b"", MINUTE)
    await cache.put("new", b"", MINUTE * 10)
    clock.advance(MINUTE)
    await cache.put("newer", b"", MINUTE)
    stats = await cache.stats()
    assert (stats.entries, stats.evictions) == (3, 0)
    assert await cache.get("old") == b""


async def test_clearing_forgets_all_and_says_how_many(cache: Cache) -> None:
    await cache.put("a", b"1", MINUTE)
    await cache.put("b", b"2", MINUTE)
    assert await cache.clear() == 2
    assert await cache.get("a") is None
    assert await cache.clear() == 0


async def test_stats_count_what_happened(cache: Cache, clock: ManualClock) -> None:
    await cache.put("a", b"1", MINUTE)
    await cache.put("b", b"2", MINUTE * 2)
    await cache.get("a")
    await cache.get("a")
    await cache.get("nothing")
    clock.advance(MINUTE)
    stats = await cache.stats()
    assert (stats.entries, stats.hits, stats.misses) == (1, 2, 1)
    assert stats.backend
