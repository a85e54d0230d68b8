"""The gate: never more inside than may be, nobody lost in the queue, the rest turned away."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.orchestration.gate import Busy, Gate, WaitedTooLong

pytestmark = pytest.mark.anyio


SOON_S = 5.0


async def test_whoever_finds_no_room_waits_and_enters_in_order() -> None:
    gate, entered = Gate("s", 1, 10), list[int]()
    await gate.enter(SOON_S)

    async def one(number: int) -> None:
        await gate.enter(SOON_S)
        entered.append(number)
        gate.leave()

    waiting = [asyncio.create_task(one(number)) for number in range(3)]
    await asyncio.sleep(0)
    assert (gate.inside, gate.waiting, entered) == (1, 3, [])
    gate.leave()
    await asyncio.gather(*waiting)
    assert (gate.inside, gate.waiting, entered) == (0, 0, [0, 1, 2])


async def test_a_full_queue_turns_away_at_once() -> None:
    gate = Gate("s", 1, 0)
    await gate.enter(SOON_S)
    with pytest.raises(Busy, match="1 calls are under way") as refused:
        await gate.enter(SOON_S)
    assert refused.value.retry_after is not None


async def test_a_deadline_ends_the_wait_and_frees_the_place_in_the_queue() -> None:
    gate = Gate("s", 1, 1)
    await gate.enter(SOON_S)
    with pytest.raises(WaitedTooLong):
        await gate.enter(0.01)
    assert gate.waiting == 0
    gate.leave()
    assert gate.try_enter()


async def test_a_turn_that_comes_with_the_cancellation_is_passed_on() -> None:
    gate = Gate("s", 1, 5)
    await gate.enter(SOON_S)
    first = asyncio.create_task(gate.enter(SOON_S))
    second = asyncio.create_task(gate.enter(SOON_S))
    await asyncio.sleep(0)
    gate.leave()
    first.cancel()
    await asyncio.wait({first, second})
    assert first.cancelled()
    assert second.result() is None
    assert gate.inside == 1


@settings(deadline=None, max_examples=50)
@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=30),
)
def test_no_order_of_entering_leaving_and_giving_up_breaks_the_count(
    most: int, callers: list[tuple[int, bool]]
) -> None:
    async def run() -> None:
        gate, highest = Gate("s", most, 100), 0

        async def caller(pauses: int) -> None:
            nonlocal highest
            await gate.enter(SOON_S)
            highest = max(highest, gate.inside)
            try:
                for _ in range(pauses):
                    await asyncio.sleep(0)
            finally:
                gate.leave()

        tasks = []
        for pauses, cancelled in callers:
            tasks.append(asyncio.create_task(caller(pauses)))
            await asyncio.sleep(0)
            if cancelled:
                tasks[len(tasks) // 2].cancel()
        await asyncio.wait(tasks)
        assert highest <= most
        assert (gate.inside, gate.waiting) == (0, 0)

    asyncio.run(run())
