"""How many tasks of a lane run at once: what a claim with caps promises, over all workers."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta

import pytest

from domain.model.tasks import Lane, Task, TaskId, TaskStatus, WorkerId, server_lane
from domain.ports.tasks import TaskQuery
from tests.contracts.storage import DONE, LEASE, LONG, WORKER, Store, hold_of, tool_task

pytestmark = pytest.mark.anyio

SLOW, FAST = server_lane("slow"), server_lane("fast")
OTHER = WorkerId("worker-2")


async def _submit(store: Store, lane: Lane, *task_ids: str) -> None:
    await store.submit(*(tool_task(task_id, lane=lane) for task_id in task_ids))


async def _claim(
    store: Store,
    caps: Mapping[Lane, int],
    limit: int = 10,
    worker: WorkerId = WORKER,
    only: str | None = None,
) -> tuple[Task, ...]:
    async with store.transactions.single() as transaction:
        return await transaction.queue.claim(
            worker, LONG, limit, None if only is None else TaskId(only), caps
        )


def _ids(tasks: tuple[Task, ...]) -> list[str]:
    return [task.task_id for task in tasks]


async def test_a_full_lane_is_passed_over(store: Store) -> None:
    await _submit(store, SLOW, "s0", "s1", "s2", "s3")
    await _submit(store, FAST, "f0", "f1")
    assert _ids(await _claim(store, {SLOW: 2})) == ["s0", "s1", "f0", "f1"]
    assert await _claim(store, {SLOW: 2}, worker=OTHER) == ()
    assert _ids(await _claim(store, {SLOW: 3}, worker=OTHER)) == ["s2"]


async def test_the_first_of_all_lanes_with_room_are_claimed_in_order(store: Store) -> None:
    for number in range(3):
        await _submit(store, SLOW, f"s{number}")
        await _submit(store, FAST, f"f{number}")
        await _submit(store, server_lane(f"other-{number}"), f"o{number}")
    caps = {SLOW: 1, FAST: 2, server_lane("other-1"): 5, server_lane("absent"): 1}
    assert _ids(await _claim(store, caps, limit=5)) == ["s0", "f0", "o0", "f1", "o1"]
    assert _ids(await _claim(store, caps)) == ["o2"]


async def test_an_end_makes_room(store: Store) -> None:
    await _submit(store, SLOW, "s0", "s1", "s2")
    (first,) = await _claim(store, {SLOW: 1})
    async with store.transactions.single() as transaction:
        await transaction.queue.finish(hold_of(first), DONE)
    (second,) = await _claim(store, {SLOW: 1})
    async with store.transactions.single() as transaction:
        await transaction.queue.requeue(hold_of(second), LONG, counted=True)
    assert _ids(await _claim(store, {SLOW: 1})) == ["s2"]


async def test_a_lapsed_task_counts_until_it_is_taken_up_and_needs_no_more_room(
    store: Store,
) -> None:
    await store.submit(tool_task("s0", lane=SLOW))
    (frozen,) = await store.claim(lease=LEASE)
    await store.submit(tool_task("s1", lane=SLOW, priority=9))
    await store.advance(LEASE)
    (again,) = await _claim(store, {SLOW: 1}, worker=OTHER)
    assert (again.task_id, again.attempt) == ("s0", frozen.attempt + 1)
    assert await _claim(store, {SLOW: 1}) == ()


async def test_one_named_task_is_left_where_its_lane_is_full(store: Store) -> None:
    await _submit(store, SLOW, "s0", "s1")
    await _submit(store, FAST, "f0")
    caps = {SLOW: 1}
    assert _ids(await _claim(store, caps, only="s1")) == ["s1"]
    assert await _claim(store, caps, only="s0") == ()
    assert _ids(await _claim(store, caps, only="f0")) == ["f0"]
    assert _ids(await _claim(store, {SLOW: 2}, only="s0")) == ["s0"]


async def test_a_delayed_task_of_a_capped_lane_comes_in_its_time(store: Store) -> None:
    await store.submit(tool_task("s0", lane=SLOW, delay=LEASE))
    assert await _claim(store, {SLOW: 1}) == ()
    await store.advance(LEASE)
    assert _ids(await _claim(store, {SLOW: 1})) == ["s0"]


async def test_many_lanes_can_be_in_line(store: Store) -> None:
    lanes = [server_lane(f"server-{number:03}") for number in range(230)]
    await store.submit(*(tool_task(f"t-{lane}", lane=lane) for lane in lanes for _ in "x"))
    assert len(await _claim(store, {SLOW: 1}, limit=500)) == 230


async def test_caps_are_exact_over_many_workers(store: Store) -> None:
    lanes = {SLOW: 2, FAST: 3}
    for number in range(30):
        await _submit(store, SLOW, f"s{number:02}")
        await _submit(store, FAST, f"f{number:02}")
    most: Counter[Lane] = Counter()
    done: list[str] = []

    async def claim(worker: WorkerId) -> tuple[Task, ...]:
        async with store.transactions.begin() as transaction:
            claimed = await transaction.queue.claim(worker, LONG, 2, None, lanes)
            running = await transaction.tasks.list(TaskQuery(status=TaskStatus.RUNNING))
        for lane, number in Counter(task.lane for task in running.items).items():
            most[lane] = max(most[lane], number)
        return claimed

    async def work(number: int) -> None:
        while len(done) < 60:
            for task in await claim(WorkerId(f"worker-{number}")):
                async with store.transactions.single() as transaction:
                    await transaction.queue.finish(hold_of(task), DONE)
                done.append(task.task_id)

    async with asyncio.timeout(60):
        await asyncio.gather(*(work(number) for number in range(6)))
    assert len(set(done)) == len(done) == 60
    assert all(0 < most[lane] <= cap for lane, cap in lanes.items())


async def test_a_cap_that_was_lowered_takes_nothing_away(store: Store) -> None:
    await _submit(store, SLOW, "s0", "s1", "s2")
    first, _ = await _claim(store, {SLOW: 2})
    assert await _claim(store, {SLOW: 1}) == ()
    async with store.transactions.single() as transaction:
        await transaction.queue.finish(hold_of(first), DONE)
    assert await _claim(store, {SLOW: 1}) == ()
    async with store.transactions.single() as transaction:
        pulse = await transaction.queue.heartbeat(WORKER, timedelta(seconds=9), ())
    assert pulse.lost == ()
