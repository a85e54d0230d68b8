"""Whose task is next: what the line of due tasks promises to many owners."""

import asyncio
from datetime import timedelta

import pytest

from domain.model.callers import CallerId
from domain.model.tasks import Hold, Task, TaskStatus
from domain.ports.tasks import MOST_COUNTED
from tests.contracts.storage import DONE, LEASE, LONG, ME, Store, hold_of, tool_task

pytestmark = pytest.mark.anyio

YOU, THEY = CallerId("you"), CallerId("they")


async def _submit(store: Store, owner: CallerId, *task_ids: str, **options: int) -> list[Task]:
    """Keep tasks that are younger than all before them."""
    await store.advance(timedelta(milliseconds=2))
    new = (tool_task(task_id, owner=owner, **options) for task_id in task_ids)
    return [*await store.submit(*new)]


async def _next(store: Store, number: int) -> list[str]:
    return [task.task_id for task in await store.claim(number)]


async def _place(store: Store, task_id: str) -> int | None:
    async with store.transactions.read() as transaction:
        return await transaction.tasks.place(await store.get(task_id))


async def _requeue(store: Store, hold: Hold, delay: timedelta) -> Task:
    async with store.transactions.single() as transaction:
        return await transaction.queue.requeue(hold, delay, counted=True)


async def test_a_thousand_tasks_of_one_owner_do_not_starve_ten_of_another(store: Store) -> None:
    await _submit(store, ME, *(f"m{number:04}" for number in range(1000)))
    await _submit(store, YOU, *(f"y{number}" for number in range(10)))
    first = await _next(store, 20)
    assert [task_id for task_id in first if task_id.startswith("y")] == [
        f"y{number}" for number in range(10)
    ]
    assert [task_id for task_id in first if task_id.startswith("m")] == [
        f"m{number:04}" for number in range(10)
    ]


async def test_a_new_task_comes_with_its_place(store: Store) -> None:
    await _submit(store, ME, "m0", "m1")
    (urgent,) = await _submit(store, ME, "u", priority=1)
    (last,) = await _submit(store, ME, "m2")
    (other,) = await _submit(store, YOU, "y0")
    (later,) = await store.submit(tool_task("later", delay=LONG))
    places = [task.queue_position for task in (urgent, last, other, later)]
    assert places == [1, 4, 3, None]
    assert [await _place(store, task_id) for task_id in ("u", "m2", "y0")] == [1, 5, 3]


async def test_a_delayed_task_whose_time_has_come_goes_before_those_of_less_priority(
    store: Store,
) -> None:
    await store.submit(tool_task("urgent", priority=1, delay=LEASE), tool_task("usual"))
    await store.advance(2 * LEASE)
    assert await _next(store, 1) == ["urgent"]


async def test_one_owners_tasks_go_by_age(store: Store) -> None:
    for number in range(9):
        await _submit(store, ME, f"t{9 - number}")
    assert await _next(store, 9) == [f"t{9 - number}" for number in range(9)]


async def test_who_comes_late_starts_at_the_head_and_not_before_it(store: Store) -> None:
    await _submit(store, ME, *(f"m{number}" for number in range(6)))
    assert await _next(store, 3) == ["m0", "m1", "m2"]
    await _submit(store, YOU, "y0", "y1", "y2", "y3")
    assert await _next(store, 5) == ["m3", "y0", "m4", "y1", "m5"]
    # Nothing is made up for: the third takes turns from where the others are by now.
    await _submit(store, THEY, "t0", "t1")
    assert await _next(store, 4) == ["y2", "t0", "y3", "t1"]


async def test_a_priority_is_a_line_of_its_own(store: Store) -> None:
    await _submit(store, ME, "low0", "low1")
    await _submit(store, ME, "high0", "high1", priority=5)
    await _submit(store, YOU, "yours", priority=5)
    assert await _next(store, 5) == ["high0", "yours", "high1", "low0", "low1"]


async def test_a_requeued_task_keeps_its_turn(store: Store) -> None:
    await _submit(store, ME, "m0", "m1")
    (task,) = await store.claim()
    await _submit(store, YOU, "y0")
    again = await _requeue(store, hold_of(task), timedelta())
    assert again.turn == task.turn
    assert await _next(store, 3) == ["m0", "m1", "y0"]


async def test_a_task_that_comes_back_after_a_delay_is_next(store: Store) -> None:
    await _submit(store, ME, *(f"m{number}" for number in range(5)))
    (task,) = await store.claim()
    again = await _requeue(store, hold_of(task), LEASE)
    assert again.turn is None
    await store.advance(LEASE)
    assert await _next(store, 5) == ["m0", "m1", "m2", "m3", "m4"]


async def test_a_task_that_waits_for_its_time_holds_no_turn_until_then(store: Store) -> None:
    delayed = [tool_task(f"d{number}", owner=THEY, delay=LEASE) for number in range(3)]
    assert [task.turn for task in await store.submit(*delayed)] == [None] * 3
    await _submit(store, ME, *(f"m{number}" for number in range(3)))
    await store.advance(LEASE)
    # A newcomer among them: neither before nor behind all of another's.
    assert await _next(store, 6) == ["d0", "m0", "d1", "m1", "d2", "m2"]


async def test_places_in_line_are_told(store: Store) -> None:
    await _submit(store, ME, "m0", "m1", "m2")
    await _submit(store, YOU, "y0")
    await _submit(store, YOU, "urgent", priority=1)
    await store.submit(tool_task("later", delay=LONG))
    places = {task_id: await _place(store, task_id) for task_id in ("urgent", "m0", "y0", "m2")}
    assert places == {"urgent": 1, "m0": 2, "y0": 3, "m2": 5}
    assert await _place(store, "later") is None
    await store.claim(2)
    assert await _place(store, "y0") == 1


async def test_a_place_far_behind_is_counted_to_a_bound(store: Store) -> None:
    await _submit(store, ME, *(f"t{number:04}" for number in range(MOST_COUNTED + 3)))
    assert await _place(store, f"t{MOST_COUNTED - 2:04}") == MOST_COUNTED - 1
    assert await _place(store, f"t{MOST_COUNTED - 1:04}") == MOST_COUNTED
    assert await _place(store, f"t{MOST_COUNTED + 2:04}") == MOST_COUNTED


async def test_a_lapsed_task_is_claimed_at_its_own_place(store: Store) -> None:
    await _submit(store, ME, "m0", "m1")
    await _submit(store, YOU, "urgent", priority=1)
    await store.claim(2, lease=LEASE)
    await store.advance(LEASE)
    assert await _next(store, 3) == ["urgent", "m0", "m1"]


async def test_owners_that_submit_and_work_side_by_side_lose_nothing(store: Store) -> None:
    async def submit(owner: str) -> None:
        for number in range(20):
            await _submit(store, CallerId(owner), f"{owner}{number:02}")

    async def work() -> list[str]:
        mine: list[str] = []
        while len(mine) < 20:
            for task in await store.claim(3):
                mine.append(task.task_id)
                async with store.transactions.single() as transaction:
                    await transaction.queue.finish(hold_of(task), DONE)
                if len(mine) == 20:
                    break
            await asyncio.sleep(0)
        return mine

    async with asyncio.timeout(60):
        *_, done = await asyncio.gather(submit("a"), submit("b"), work())
    assert len(set(done)) == 20
    async with store.transactions.read() as transaction:
        counts = await transaction.tasks.counts()
    assert counts[TaskStatus.SUCCEEDED] == 20
    assert sum(counts.values()) == 40
