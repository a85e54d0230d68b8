"""Deadlines and age, as upkeep meets them."""

import asyncio
from datetime import timedelta

import pytest

from domain.model.callers import LOCAL
from domain.model.tasks import TaskId, TaskStatus
from domain.tasks import retention
from domain.tasks.retention import Retention
from tests.contracts.storage import DONE, WORKER, hold_of, tool_task
from tests.domain.test_worker import Bench

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def kept(bench: Bench) -> Retention:
    return Retention(bench.transactions, bench.signals, 30 * DAY)


async def _ended(bench: Bench, number: int) -> None:
    async with bench.transactions.begin() as transaction:
        for which in range(number):
            await transaction.tasks.add(tool_task(f"t{which:04}"))
        for task in await transaction.queue.claim(WORKER, DAY, number):
            await transaction.queue.finish(hold_of(task), DONE)


async def test_a_task_ends_at_its_deadline_though_no_worker_is_there(
    bench: Bench, kept: Retention
) -> None:
    task_id = await bench.submit(deadline=timedelta(minutes=1))
    waiting = asyncio.create_task(bench.finished(task_id))
    assert await kept.end_overdue() == 0
    bench.clock.advance(timedelta(minutes=1))
    assert await kept.end_overdue() == 1
    task = await waiting
    assert task.error is not None
    assert (task.status, task.error.reason) == (TaskStatus.FAILED, "deadline")
    events = [event async for event in bench.tasks.follow(LOCAL, task_id)]
    assert events[-1].data["reason"] == "deadline"


async def test_tasks_are_kept_for_their_days_and_not_longer(bench: Bench, kept: Retention) -> None:
    await _ended(bench, 3)
    bench.clock.advance(29 * DAY)
    assert await kept.purge() == 0
    bench.clock.advance(DAY)
    assert await kept.purge() == 3


async def test_many_go_in_batches_up_to_a_bound(
    bench: Bench, kept: Retention, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 4)
    monkeypatch.setattr(retention, "MOST_BATCHES", 2)
    await _ended(bench, 10)
    bench.clock.advance(31 * DAY)
    assert [await kept.purge() for _ in range(3)] == [8, 2, 0]
    async with bench.transactions.read() as transaction:
        assert await transaction.tasks.events(TaskId("t0000"), 0, 5) == ()
