"""What a cache promises."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import msgspec
import pytest

from adapters.inmemory.cache import MemoryCache
from adapters.inmemory.system import ManualClock
from domain.ports.cache import Cache
from tests.redis.sides import new_prefix, side

pytestmark = pytest.mark.anyio

KINDS = ["memory", pytest.param("redis", marks=pytest.mark.services)]
SHORT = timedelta(milliseconds=50)
MINUTE = timedelta(minutes=1)


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A cache, and the way to let its time pass."""

    cache: Cache
    advance: Callable[[timedelta], Awaitable[None]]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=KINDS)
async def kept(request: pytest.FixtureRequest, clock: ManualClock) -> AsyncIterator[Kept]:
    if request.param == "memory":

        async def advance(by: timedelta) -> None:
            clock.advance(by)

        yield Kept(cache=MemoryCache(clock), advance=advance)
        return

    async def pass_for_real(by: timedelta) -> None:
        # Redis counts milliseconds: one more, and the time is surely over.
        await asyncio.sleep(by.total_seconds() + 0.002)

    async with side(request.getfixturevalue("redis_url"), new_prefix()) as process:
        yield Kept(cache=process.cache, advance=pass_for_real)


@pytest.fixture
def small(clock: ManualClock) -> MemoryCache:
    """The twin with room for three."""
    return MemoryCache(clock, max_entries=3)


@pytest.mark.parametrize("value", [b"1", b"", b"\x00\xff" * 50_000])
async def test_what_was_put_comes_back_until_its_time_is_over(kept: Kept, value: bytes) -> None:
    await kept.cache.put("a key:*\n", value, MINUTE)
    assert await kept.cache.get("a key:*\n") == value
    await kept.cache.put("a key:*\n", value, SHORT)
    await kept.advance(SHORT)
    assert await kept.cache.get("a key:*\n") is None


async def test_a_second_put_replaces_value_and_time(kept: Kept) -> None:
    await kept.cache.put("a", b"1", SHORT)
    await kept.cache.put("a", b"2", MINUTE)
    await kept.advance(SHORT)
    assert await kept.cache.get("a") == b"2"


async def test_clearing_forgets_all_and_says_how_many(kept: Kept) -> None:
    for number in range(600):
        await kept.cache.put(f"{number}", b"1", MINUTE)
    await kept.cache.put("over", b"2", SHORT)
    await kept.advance(SHORT)
    assert await kept.cache.clear() == 600
    assert await kept.cache.get("0") is None
    assert await kept.cache.clear() == 0


async def test_stats_count_what_happened(kept: Kept) -> None:
    await kept.cache.put("a", b"1", SHORT)
    await kept.cache.put("b", b"2", MINUTE)
    await kept.cache.get("b")
    await kept.cache.get("b")
    await kept.cache.get("nothing")
    await kept.advance(SHORT)
    stats = await kept.cache.stats()
    assert (stats.entries, stats.hits, stats.misses) == (1, 2, 1)
    assert stats.backend


async def test_an_answer_is_kept_to_the_last_moment(small: Cache, clock: ManualClock) -> None:
    await small.put("a", b"1", MINUTE)
    clock.advance(MINUTE - timedelta(milliseconds=1))
    assert await small.get("a") == b"1"
    clock.advance(timedelta(milliseconds=1))
    assert await small.get("a") is None


async def test_the_entry_that_nobody_asked_for_gives_way(small: Cache) -> None:
    for key in ("a", "b", "c"):
        await small.put(key, key.encode(), MINUTE)
    await small.get("a")
    await small.put("d", b"d", MINUTE)
    assert [await small.get(key) for key in ("a", "b", "c", "d")] == [b"a", None, b"c", b"d"]
    assert (await small.stats()).evictions == 1


async def test_an_entry_past_its_time_gives_way_first(small: Cache, clock: ManualClock) -> None:
    await small.put("old", b"", MINUTE * 10)
    await small.put("short", b"", MINUTE)
    await small.put("new", b"", MINUTE * 10)
    clock.advance(MINUTE)
    await small.put("newer", b"", MINUTE)
    stats = await small.stats()
    assert (stats.entries, stats.evictions) == (3, 0)
    assert await small.get("old") == b""
