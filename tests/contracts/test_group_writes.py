"""What many attempts write at once: as if each had done so alone."""

import asyncio

import pytest

from domain.model.tasks import (
    EventKind,
    Hold,
    NewEvent,
    Outcome,
    Task,
    TaskError,
    TaskId,
    TaskProgress,
    TaskStatus,
    WorkerId,
)
from domain.ports.tasks import Entry
from tests.contracts.storage import DONE, LEASE, LONG, WORKER, Store, hold_of, text_event, tool_task

pytestmark = pytest.mark.anyio

BROKEN = Outcome(
    status=TaskStatus.FAILED,
    result={"content": ['a "quoted" \u0000 part', None, 1.5]},
    error=TaskError(reason="tool-error", message="It broke: ünï."),
)


async def _write(store: Store, *entries: Entry) -> tuple[int | None, ...]:
    async with store.transactions.single() as transaction:
        return await transaction.queue.write(entries)


async def _claimed(store: Store, number: int) -> list[Hold]:
    await store.submit(*(tool_task(f"t{which:02}") for which in range(number)))
    return [hold_of(task) for task in await store.claim(number)]


async def _texts(store: Store, hold: Hold) -> list[tuple[int, int, str]]:
    async with store.transactions.read() as transaction:
        events = await transaction.tasks.events(hold.task_id, 0, 100)
    return [(event.seq, event.attempt, event.data["text"]) for event in events]


async def _alone(store: Store, hold: Hold, outcome: Outcome) -> Task:
    async with store.transactions.single() as transaction:
        return await transaction.queue.finish(hold, outcome)


async def test_records_and_ends_of_many_are_written_at_once(store: Store) -> None:
    first, second, third = await _claimed(store, 3)
    async with store.transactions.single() as transaction:
        await transaction.queue.record(second, (text_event("before"),))
    seqs = await _write(
        store,
        Entry(hold=first, events=(text_event("a"), text_event("b"))),
        Entry(hold=second, events=(text_event("c"),), outcome=DONE),
        Entry(hold=third, outcome=BROKEN),
    )
    assert seqs == (2, 2, 0)
    assert await _texts(store, first) == [(1, 1, "a"), (2, 1, "b")]
    assert await _texts(store, second) == [(1, 1, "before"), (2, 1, "c")]
    statuses = [(await store.get(hold.task_id)).status for hold in (first, second, third)]
    assert statuses == [TaskStatus.RUNNING, TaskStatus.SUCCEEDED, TaskStatus.FAILED]


@pytest.mark.parametrize("outcome", [DONE, BROKEN], ids=["done", "broken"])
async def test_an_end_among_many_is_the_same_as_one_alone(store: Store, outcome: Outcome) -> None:
    first, second = await _claimed(store, 2)
    await _write(store, Entry(hold=first, outcome=outcome))
    alone = await _alone(store, second, outcome)
    ended = await store.get(first.task_id)
    assert ended.finished_at is not None
    for field in ("status", "result", "error", "lease_until", "worker"):
        assert getattr(ended, field) == getattr(alone, field)


async def test_a_record_among_many_changes_nothing_else(store: Store) -> None:
    (hold,) = await _claimed(store, 1)
    before = await store.get(hold.task_id)
    report = NewEvent(kind=EventKind.PROGRESS, data={"progress": 1.0, "message": "half"})
    await _write(store, Entry(hold=hold, events=(report,)))
    await _write(store, Entry(hold=hold, events=(text_event("a"),)))
    after = await store.get(hold.task_id)
    assert after.progress == TaskProgress(progress=1.0, message="half")
    for field in ("status", "lease_until", "worker", "attempt", "finished_at", "result"):
        assert getattr(after, field) == getattr(before, field)


async def test_a_stale_entry_writes_nothing_and_takes_nothing_from_the_others(
    store: Store,
) -> None:
    await store.submit(tool_task("t1"))
    (frozen,) = await store.claim(lease=LEASE)
    await store.advance(LEASE)
    (taken,) = await store.claim(worker=WorkerId("other"))
    fine, ended = await _claimed(store, 2)
    await _alone(store, ended, DONE)
    unknown = Hold(task_id=TaskId("nothing"), attempt=1)
    seqs = await _write(
        store,
        Entry(hold=hold_of(frozen), events=(text_event("late"),), outcome=BROKEN),
        Entry(hold=fine, events=(text_event("a"),), outcome=DONE),
        Entry(hold=ended, events=(text_event("late"),)),
        Entry(hold=unknown, events=(text_event("late"),)),
    )
    assert seqs == (None, 1, None, None)
    assert await store.get("t1") == taken
    assert await _texts(store, hold_of(frozen)) == await _texts(store, ended) == []
    assert (await store.get(fine.task_id)).status is TaskStatus.SUCCEEDED


async def test_nothing_to_write_is_written(store: Store) -> None:
    assert await _write(store) == ()


async def test_groups_of_many_writers_side_by_side_keep_every_event_in_its_place(
    store: Store,
) -> None:
    holds = await _claimed(store, 12)

    async def work(mine: list[Hold]) -> None:
        for number in range(5):
            entries = [Entry(hold=hold, events=(text_event(str(number)),)) for hold in mine]
            assert await _write(store, *entries) == (number + 1,) * len(mine)

    async with asyncio.timeout(60):
        await asyncio.gather(*(work(holds[part::3]) for part in range(3)))
    for hold in holds:
        assert await _texts(store, hold) == [(number + 1, 1, str(number)) for number in range(5)]


async def test_heartbeats_and_groups_over_the_same_tasks_do_not_wait_in_a_ring(
    store: Store,
) -> None:
    holds = await _claimed(store, 40)

    async def beat() -> None:
        for _ in range(15):
            async with store.transactions.single() as transaction:
                pulse = await transaction.queue.heartbeat(WORKER, LONG, tuple(holds))
            assert not pulse.lost

    async def work() -> None:
        for number in range(15):
            entries = [Entry(hold=hold, events=(text_event(str(number)),)) for hold in holds[::-1]]
            await _write(store, *entries)

    async with asyncio.timeout(60):
        await asyncio.gather(beat(), work(), beat())
    assert [seq for seq, _, _ in await _texts(store, holds[0])] == [*range(1, 16)]


async def test_a_claim_tells_how_many_events_there_are(store: Store) -> None:
    (hold,) = await _claimed(store, 1)
    await _write(store, Entry(hold=hold, events=(text_event("a"), text_event("b"))))
    async with store.transactions.single() as transaction:
        await transaction.queue.abandon(WorkerId("worker-1"))
    (again,) = await store.claim(lease=LONG)
    assert (again.attempt, again.last_seq) == (2, 2)
