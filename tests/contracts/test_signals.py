"""What wake-ups promise."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from adapters.inmemory.signals import MemorySignals
from domain.ports.signals import Signals
from tests.redis.sides import new_prefix, side

pytestmark = pytest.mark.anyio

KINDS = ["memory", pytest.param("redis", marks=pytest.mark.services)]
SOON_S = 0.02
BOUND_S = 2.0


@pytest.fixture(params=KINDS)
async def signals(request: pytest.FixtureRequest) -> AsyncIterator[Signals]:
    if request.param == "memory":
        yield MemorySignals()
        return
    async with side(request.getfixturevalue("redis_url"), new_prefix()) as process:
        yield process.signals


async def test_every_present_listener_of_the_topic_gets_the_hint(signals: Signals) -> None:
    async with signals.subscribe("a") as one, signals.subscribe("a") as two:
        signals.publish("a", {"n": 1})
        assert await one.next(BOUND_S) == await two.next(BOUND_S) == {"n": 1}


async def test_hints_come_in_order_and_other_topics_stay_silent(signals: Signals) -> None:
    async with signals.subscribe("a") as listener:
        for hint in range(3):
            signals.publish("a", {"n": hint})
            signals.publish("b", {"n": -1})
        assert [await listener.next(BOUND_S) for _ in range(3)] == [{"n": n} for n in range(3)]
        assert await listener.next(0) is None


async def test_waiting_ends_when_a_hint_comes(signals: Signals) -> None:
    async with signals.subscribe("a") as listener:
        waiting = asyncio.create_task(listener.next(BOUND_S))
        await asyncio.sleep(0)
        signals.publish("a", {"n": 1})
        assert await waiting == {"n": 1}


async def test_waiting_without_a_hint_ends_in_none(signals: Signals) -> None:
    async with signals.subscribe("a") as listener:
        assert await listener.next(SOON_S) is None


async def test_a_hint_before_the_subscription_or_after_it_reaches_nobody(signals: Signals) -> None:
    signals.publish("a", {"n": 1})
    async with signals.subscribe("a") as listener:
        assert await listener.next(0) is None
    signals.publish("a", {"n": 2})
    async with signals.subscribe("a") as listener:
        assert await listener.next(0) is None


async def test_a_slow_listener_loses_the_oldest_hints(signals: Signals) -> None:
    async with signals.subscribe("a") as listener:
        for number in range(10_000):
            signals.publish("a", {"n": number})
        kept = []
        while (hint := await listener.next(0)) is not None:
            kept.append(hint["n"])
    assert kept == list(range(10_000 - len(kept), 10_000))
    assert 0 < len(kept) < 10_000


async def test_a_cancelled_wait_loses_no_hint(signals: Signals) -> None:
    async with signals.subscribe("a") as listener:
        waiting = asyncio.create_task(listener.next(BOUND_S))
        await asyncio.sleep(0)
        signals.publish("a", {"n": 1})
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await listener.next(0) == {"n": 1}
