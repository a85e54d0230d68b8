"""What buckets of tokens promise."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import msgspec
import pytest

from adapters.inmemory.limits import SWEEP_ABOVE, MemoryRateLimits
from adapters.inmemory.system import ManualClock
from domain.ports.limits import Rate, RateLimits
from tests.redis.sides import new_prefix, side

pytestmark = pytest.mark.anyio

KINDS = ["memory", pytest.param("redis", marks=pytest.mark.services)]
SLOW = timedelta(minutes=1)
# No test takes as long as one token does.
QUICK = timedelta(milliseconds=500)


class Buckets(msgspec.Struct, frozen=True, kw_only=True):
    """The port, seen from two processes where it can be, and the way to let its time pass."""

    here: RateLimits
    there: RateLimits
    advance: Callable[[timedelta], Awaitable[None]]


@pytest.fixture(params=KINDS)
async def buckets(request: pytest.FixtureRequest) -> AsyncIterator[Buckets]:
    if request.param == "memory":
        clock = ManualClock()

        async def advance(by: timedelta) -> None:
            clock.advance(by)

        twin = MemoryRateLimits(clock)
        yield Buckets(here=twin, there=twin, advance=advance)
        return

    async def pass_for_real(by: timedelta) -> None:
        await asyncio.sleep(by.total_seconds())

    url, prefix = request.getfixturevalue("redis_url"), new_prefix()
    async with side(url, prefix) as one, side(url, prefix) as other:
        yield Buckets(here=one.limits, there=other.limits, advance=pass_for_real)


async def test_so_many_as_the_burst_are_let_through_and_the_next_is_told_when(
    buckets: Buckets,
) -> None:
    rate = Rate(burst=3, refill=SLOW)
    taken = [await buckets.here.take("a", rate) for _ in range(5)]
    assert [each.allowed for each in taken] == [True, True, True, False, False]
    assert [each.remaining for each in taken] == [2, 1, 0, 0, 0]
    assert all(each.retry_after == timedelta() for each in taken[:3])
    assert all(timedelta() < each.retry_after <= SLOW for each in taken[3:])


async def test_whoever_comes_again_when_told_is_let_through(buckets: Buckets) -> None:
    rate = Rate(burst=2, refill=QUICK)
    assert (await buckets.here.take("a", rate, 2)).allowed
    refused = await buckets.here.take("a", rate)
    assert not refused.allowed
    await buckets.advance(refused.retry_after)
    assert (await buckets.here.take("a", rate)).allowed


async def test_a_refusal_does_not_put_the_next_token_off(buckets: Buckets) -> None:
    rate = Rate(burst=1, refill=QUICK)
    await buckets.here.take("a", rate)
    waits = [(await buckets.here.take("a", rate)).retry_after for _ in range(20)]
    assert waits == sorted(waits, reverse=True)
    await buckets.advance(waits[0])
    assert (await buckets.here.take("a", rate)).allowed


async def test_several_tokens_are_taken_all_or_none(buckets: Buckets) -> None:
    rate = Rate(burst=5, refill=SLOW)
    assert (await buckets.here.take("a", rate, 3)).remaining == 2
    refused = await buckets.here.take("a", rate, 3)
    assert (refused.allowed, refused.remaining) == (False, 2)
    assert (await buckets.here.take("a", rate, 2)).allowed


async def test_more_tokens_than_the_bucket_holds_are_a_fault_of_the_program(
    buckets: Buckets,
) -> None:
    with pytest.raises(ValueError, match="3"):
        await buckets.here.take("a", Rate(burst=2, refill=SLOW), 3)


async def test_buckets_know_nothing_of_one_another(buckets: Buckets) -> None:
    rate = Rate(burst=1, refill=SLOW)
    assert (await buckets.here.take("a", rate)).allowed
    assert (await buckets.here.take("b", rate)).allowed
    assert not (await buckets.here.take("a", rate)).allowed


async def test_a_smaller_bucket_holds_at_once(buckets: Buckets) -> None:
    await buckets.here.take("a", Rate(burst=100, refill=SLOW), 90)
    refused = await buckets.here.take("a", Rate(burst=2, refill=QUICK))
    assert not refused.allowed
    assert refused.retry_after <= QUICK


async def test_of_many_takers_exactly_the_burst_is_let_through(buckets: Buckets) -> None:
    rate = Rate(burst=50, refill=SLOW)
    taken = await asyncio.gather(
        *(bucket.take("a", rate) for bucket in (buckets.here, buckets.there) for _ in range(200))
    )
    allowed = [each for each in taken if each.allowed]
    assert sorted(each.remaining for each in allowed) == list(range(50))


async def test_full_buckets_are_forgotten() -> None:
    clock = ManualClock()
    twin, rate = MemoryRateLimits(clock), Rate(burst=1, refill=QUICK)
    for number in range(10 * SWEEP_ABOVE):
        await twin.take(str(number), rate)
        clock.advance(QUICK / 100)
    assert len(twin._full_at) <= SWEEP_ABOVE
