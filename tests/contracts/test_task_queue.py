"""What a queue of tasks promises to workers."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from domain.model.tasks import (
    EventKind,
    Hold,
    NewEvent,
    Outcome,
    StaleAttempt,
    Task,
    TaskError,
    TaskId,
    TaskProgress,
    TaskStatus,
    WorkerId,
)
from domain.ports.tasks import Pulse, TaskQueue
from tests.contracts.storage import (
    DONE,
    LEASE,
    LONG,
    WORKER,
    Store,
    hold_of,
    text_event,
    tool_task,
)

pytestmark = pytest.mark.anyio

OTHER = WorkerId("worker-2")


async def _beat(store: Store, *holds: Hold, lease: timedelta = LONG) -> Pulse:
    async with store.transactions.single() as transaction:
        return await transaction.queue.heartbeat(WORKER, lease, holds)


async def _finish(store: Store, hold: Hold, outcome: Outcome = DONE) -> Task:
    async with store.transactions.single() as transaction:
        return await transaction.queue.finish(hold, outcome)


async def _requeue(store: Store, hold: Hold, delay: timedelta, *, counted: bool) -> Task:
    async with store.transactions.single() as transaction:
        return await transaction.queue.requeue(hold, delay, counted=counted)


async def test_a_claim_leases_the_task_to_its_worker(store: Store) -> None:
    await store.submit(tool_task("t1"))
    (task,) = await store.claim(5)
    assert task == await store.get("t1")
    assert (task.status, task.attempt, task.worker) == (TaskStatus.RUNNING, 1, WORKER)
    assert task.started_at is not None
    assert task.lease_until == task.started_at + LONG
    assert await store.claim(5) == ()


async def test_claims_go_by_priority_then_age_then_id(store: Store) -> None:
    await store.submit(tool_task("old"))
    await store.advance(LEASE)
    await store.submit(tool_task("b"), tool_task("a"), tool_task("low", priority=-1))
    await store.submit(tool_task("high", priority=5))
    assert [task.task_id for task in await store.claim(2)] == ["high", "old"]
    # One transaction's rows may share a millisecond or not: then they go by id, or by age.
    assert {task.task_id for task in await store.claim(2)} == {"a", "b"}
    assert [task.task_id for task in await store.claim(2)] == ["low"]


async def test_a_delayed_task_is_not_due_before_its_time(store: Store) -> None:
    await store.submit(tool_task("t1", delay=LEASE), tool_task("far", delay=LONG))
    assert await store.claim(5) == ()
    await store.advance(LEASE)
    assert [task.task_id for task in await store.claim(5)] == ["t1"]


async def test_only_one_named_task_can_be_claimed(store: Store) -> None:
    await store.submit(tool_task("t1", priority=9), tool_task("t2"), tool_task("t3", delay=LONG))

    async def claim(task_id: str) -> list[str]:
        async with store.transactions.begin() as transaction:
            claimed = await transaction.queue.claim(WORKER, LONG, 5, only=TaskId(task_id))
        return [task.task_id for task in claimed]

    assert await claim("t2") == ["t2"]
    assert await claim("t2") == await claim("t3") == await claim("nothing") == []


async def test_a_lost_lease_makes_the_task_due_and_counts_as_an_attempt(store: Store) -> None:
    await store.submit(tool_task("t1", max_attempts=1))
    (first,) = await store.claim(lease=LEASE)
    assert await store.claim(worker=OTHER) == ()
    await store.advance(LEASE)
    (second,) = await store.claim(worker=OTHER)
    assert (second.status, second.attempt, second.worker) == (TaskStatus.RUNNING, 2, OTHER)
    assert second.started_at == first.started_at


async def test_a_heartbeat_renews_every_lease(store: Store) -> None:
    await store.submit(tool_task("t1"), tool_task("t2"))
    holds = tuple(hold_of(task) for task in await store.claim(2, lease=LEASE))
    assert await _beat(store, *holds) == Pulse()
    await store.advance(LEASE)
    assert await store.claim(2, worker=OTHER) == ()


async def test_a_heartbeat_renews_a_passed_lease_that_nobody_took(store: Store) -> None:
    hold = await store.claimed(lease=LEASE)
    await store.advance(LEASE)
    assert await _beat(store, hold) == Pulse()
    assert await store.claim(worker=OTHER) == ()


async def test_a_heartbeat_tells_what_is_lost_and_what_to_cancel(store: Store) -> None:
    await store.submit(*(tool_task(f"t{number}") for number in range(1, 5)))
    fine, lost, cancelled, ended = map(hold_of, await store.claim(4, lease=LEASE))
    await _finish(store, ended)
    async with store.transactions.single() as transaction:
        await transaction.tasks.request_cancel(cancelled.task_id)
    await _beat(store, fine, cancelled)
    await store.advance(LEASE)
    await store.claim(worker=OTHER)
    pulse = await _beat(store, ended, cancelled, lost, fine)
    assert pulse == Pulse(lost=(ended, lost), cancelled=(cancelled,))
    taken = await store.get(lost.task_id)
    assert (taken.attempt, taken.worker) == (2, OTHER)


async def test_a_heartbeat_of_nothing_brings_nothing(store: Store) -> None:
    assert await _beat(store) == Pulse()


async def test_events_are_numbered_without_gaps_over_attempts(store: Store) -> None:
    first = await store.claimed(lease=LEASE)
    async with store.transactions.begin() as transaction:
        assert await transaction.queue.record(first, (text_event("a"), text_event("b"))) == 2
        assert await transaction.queue.record(first, ()) == 2

    async def fail_after_recording() -> None:
        async with store.transactions.begin() as transaction:
            await transaction.queue.record(first, (text_event("lost"),))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_after_recording()
    await store.advance(LEASE)
    (again,) = await store.claim()
    async with store.transactions.single() as transaction:
        assert await transaction.queue.record(hold_of(again), (text_event("c"),)) == 3
    async with store.transactions.read() as transaction:
        events = await transaction.tasks.events(first.task_id, 0, 10)
    assert [(event.seq, event.attempt, event.data["text"]) for event in events] == [
        (1, 1, "a"),
        (2, 1, "b"),
        (3, 2, "c"),
    ]


async def test_the_last_progress_event_becomes_the_tasks_progress(store: Store) -> None:
    hold = await store.claimed()
    events = (
        NewEvent(kind=EventKind.PROGRESS, data={"progress": 1.0}),
        NewEvent(kind=EventKind.PROGRESS, data={"progress": 2.0, "total": 4.0, "message": "half"}),
    )
    async with store.transactions.begin() as transaction:
        await transaction.queue.record(hold, (*events, text_event("on it")))
        await transaction.queue.record(hold, (text_event("still"),))
    task = await store.get("t1")
    assert task.progress == TaskProgress(progress=2.0, total=4.0, message="half")


async def test_a_finished_task_keeps_its_outcome_and_loses_its_lease(store: Store) -> None:
    task = await _finish(store, await store.claimed())
    assert task == await store.get("t1")
    assert (task.status, task.result, task.error) == (TaskStatus.SUCCEEDED, {"answer": 42}, None)
    assert task.lease_until is None
    assert task.finished_at is not None
    await store.advance(LEASE)
    assert await store.claim() == ()


async def test_a_failed_task_keeps_its_error(store: Store) -> None:
    error = TaskError(reason="indeterminate", message="The worker was lost in mid-call.")
    outcome = Outcome(status=TaskStatus.FAILED, error=error)
    task = await _finish(store, await store.claimed(), outcome)
    assert (task.status, task.result, task.error) == (TaskStatus.FAILED, None, error)


async def test_a_counted_requeue_keeps_the_attempt(store: Store) -> None:
    task = await _requeue(store, await store.claimed(), LEASE, counted=True)
    assert task == await store.get("t1")
    assert (task.status, task.attempt, task.worker) == (TaskStatus.QUEUED, 1, None)
    assert task.lease_until is None
    assert await store.claim() == ()
    await store.advance(LEASE)
    assert [again.attempt for again in await store.claim()] == [2]


async def test_an_uncounted_requeue_allows_an_attempt_more_and_no_number_is_used_twice(
    store: Store,
) -> None:
    hold = await store.claimed()
    most = (await store.get("t1")).max_attempts
    task = await _requeue(store, hold, timedelta(), counted=False)
    assert task == await store.get("t1")
    assert (task.status, task.attempt, task.max_attempts) == (TaskStatus.QUEUED, 1, most + 1)
    (again,) = await store.claim()
    assert again.attempt == 2
    with pytest.raises(StaleAttempt):
        await _finish(store, hold, DONE)


async def test_an_abandoned_workers_tasks_become_due(store: Store) -> None:
    await store.submit(tool_task("t1"), tool_task("t2"), tool_task("t3"), tool_task("t4"))
    await store.claim(2)
    await store.claim(1, worker=OTHER)
    async with store.transactions.begin() as transaction:
        assert await transaction.queue.abandon(WORKER) == 2
        assert await transaction.queue.abandon(WorkerId("nobody")) == 0
    taken = await store.claim(5, worker=OTHER)
    assert [(task.task_id, task.attempt) for task in taken] == [("t1", 2), ("t2", 2), ("t4", 1)]


async def test_a_lease_that_passed_already_is_not_counted_as_abandoned(store: Store) -> None:
    await store.claimed(lease=LEASE)
    await store.advance(LEASE)
    async with store.transactions.single() as transaction:
        assert await transaction.queue.abandon(WORKER) == 0


Write = Callable[[TaskQueue, Hold], Awaitable[object]]
WRITES: dict[str, Write] = {
    "record": lambda queue, hold: queue.record(hold, (text_event("late"),)),
    "record nothing": lambda queue, hold: queue.record(hold, ()),
    "finish": lambda queue, hold: queue.finish(hold, DONE),
    "requeue": lambda queue, hold: queue.requeue(hold, timedelta(), counted=True),
    "hand back": lambda queue, hold: queue.requeue(hold, timedelta(), counted=False),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_a_worker_that_thaws_past_its_lease_can_write_nothing(
    store: Store, write: Write
) -> None:
    frozen = await store.claimed(lease=LEASE)
    await store.advance(LEASE)
    (taken,) = await store.claim(worker=OTHER)
    with pytest.raises(StaleAttempt) as caught:
        async with store.transactions.begin() as transaction:
            await write(transaction.queue, frozen)
    assert caught.value.details == {"task_id": "t1", "attempt": 1}
    assert await store.get("t1") == taken


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_nothing_can_be_written_after_the_end(store: Store, write: Write) -> None:
    hold = await store.claimed()
    ended = await _finish(store, hold)
    unknown = Hold(task_id=TaskId("nothing"), attempt=1)
    for stale in (hold, unknown):
        with pytest.raises(StaleAttempt):
            async with store.transactions.begin() as transaction:
                await write(transaction.queue, stale)
    assert await store.get("t1") == ended
    async with store.transactions.read() as transaction:
        assert await transaction.tasks.events(hold.task_id, 0, 10) == ()


async def test_a_task_that_is_queued_again_is_not_its_last_workers_any_more(store: Store) -> None:
    hold = await store.claimed()
    queued = await _requeue(store, hold, LONG, counted=True)
    with pytest.raises(StaleAttempt):
        await _finish(store, hold)
    assert (await _beat(store, hold)).lost == (hold,)
    assert await store.get("t1") == queued


async def test_of_many_workers_exactly_one_gets_a_task(store: Store) -> None:
    await store.submit(*(tool_task(f"t{number:03}", priority=number % 3) for number in range(200)))

    async def work(number: int) -> list[str]:
        mine: list[str] = []
        while claimed := await store.claim(3, worker=WorkerId(f"worker-{number}")):
            mine += [task.task_id for task in claimed]
            for task in claimed:
                await _finish(store, hold_of(task))
        return mine

    shares = await asyncio.gather(*(work(number) for number in range(8)))
    everything = [task_id for share in shares for task_id in share]
    assert sorted(everything) == [f"t{number:03}" for number in range(200)]
    assert all(shares)
    async with store.transactions.read() as transaction:
        assert await transaction.tasks.counts() == {TaskStatus.SUCCEEDED: 200}
