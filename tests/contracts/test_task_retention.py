"""What upkeep may ask of a store: deadlines that pass, and tasks that grow old."""

import asyncio
from datetime import timedelta

import msgspec
import pytest

from domain.model.decisions import DecisionId, DecisionKind, DecisionNotFound, Question, Verdict
from domain.model.tasks import (
    OVERDUE,
    EventKind,
    StaleAttempt,
    Task,
    TaskNotFound,
    TaskStatus,
    last_event,
)
from domain.ports.decisions import NewDecision
from tests.contracts.storage import (
    DONE,
    LEASE,
    LONG,
    WORKER,
    Store,
    hold_of,
    text_event,
    tool_task,
    turn_task,
)

pytestmark = pytest.mark.anyio

QUESTION = Question(call_id="c", server="s", tool="t", arguments={}, reason="?")
NEW = NewDecision(decision_id=DecisionId("d1"), kind=DecisionKind.INDETERMINATE, question=QUESTION)


async def _end_overdue(store: Store, limit: int = 10) -> tuple[Task, ...]:
    async with store.transactions.begin() as transaction:
        return await transaction.retention.end_overdue(limit)


async def _purge(store: Store, older_than: timedelta, limit: int = 10) -> int:
    async with store.transactions.begin() as transaction:
        return await transaction.retention.purge(older_than, limit)


async def _finished(store: Store, *task_ids: str) -> None:
    await store.submit(*map(tool_task, task_ids))
    for task in await store.claim(len(task_ids)):
        async with store.transactions.begin() as transaction:
            await transaction.queue.record(hold_of(task), (text_event("a"),))
            await transaction.queue.finish(hold_of(task), DONE)
        await store.advance(timedelta(milliseconds=2))


async def _exists(store: Store, task_id: str) -> bool:
    try:
        return bool(await store.get(task_id))
    except TaskNotFound:
        return False


async def test_queued_tasks_past_their_deadline_end_and_say_so(store: Store) -> None:
    await store.submit(
        tool_task("due", deadline=LEASE),
        tool_task("delayed", deadline=LEASE, delay=LONG),
        tool_task("in time", deadline=LONG),
        tool_task("any time"),
    )
    await store.advance(LEASE)
    ended = await _end_overdue(store)
    assert {task.task_id for task in ended} == {"due", "delayed"}
    for task in ended:
        assert task == await store.get(task.task_id)
        assert (task.status, task.error) == (TaskStatus.FAILED, OVERDUE.error)
        assert task.finished_at is not None
        async with store.transactions.read() as transaction:
            (event,) = await transaction.tasks.events(task.task_id, 0, 10)
        told = last_event(task.task_id, OVERDUE)
        assert (event.seq, event.kind, event.data) == (1, EventKind.ERROR, told.data)
    assert await _end_overdue(store) == ()
    assert {task.task_id for task in await store.claim(9)} == {"in time", "any time"}


async def test_a_running_task_is_its_workers_until_its_lease_has_passed(store: Store) -> None:
    await store.submit(tool_task("t1", deadline=LEASE), tool_task("t2", deadline=LEASE))
    held, lost = await store.claim(2)
    async with store.transactions.begin() as transaction:
        await transaction.queue.heartbeat(WORKER, LEASE, (hold_of(lost),))
    await store.advance(LEASE)
    assert [task.task_id for task in await _end_overdue(store)] == [lost.task_id]
    assert (await store.get(held.task_id)).status is TaskStatus.RUNNING
    with pytest.raises(StaleAttempt):
        async with store.transactions.begin() as transaction:
            await transaction.queue.finish(hold_of(lost), DONE)


async def test_a_task_that_waits_ends_at_its_deadline_and_its_decision_is_void(
    store: Store,
) -> None:
    await store.submit(tool_task("t1", deadline=LEASE))
    (task,) = await store.claim()
    async with store.transactions.begin() as transaction:
        await transaction.queue.record(hold_of(task), (text_event("a"),))
        await transaction.decisions.ask(hold_of(task), NEW)
    await store.advance(LEASE)
    assert [ended.task_id for ended in await _end_overdue(store)] == ["t1"]
    async with store.transactions.read() as transaction:
        decision = await transaction.decisions.get(NEW.decision_id)
        events = await transaction.tasks.events(task.task_id, 0, 10)
    assert decision.decision is Verdict.VOID
    assert [(event.seq, event.attempt) for event in events] == [(1, 1), (2, 1)]


async def test_a_conversation_is_free_again_after_its_overdue_turn(store: Store) -> None:
    await store.submit(msgspec.structs.replace(turn_task("t1", "talk"), deadline=LEASE))
    await store.advance(LEASE)
    await _end_overdue(store)
    await store.submit(turn_task("t2", "talk"))


async def test_overdue_tasks_end_in_parts_each_once(store: Store) -> None:
    await store.submit(*(tool_task(f"t{number}", deadline=LEASE) for number in range(9)))
    await store.advance(LEASE)
    parts = await asyncio.gather(*(_end_overdue(store, 2) for _ in range(3)))
    parts.append(await _end_overdue(store, 9))
    ended = [task.task_id for part in parts for task in part]
    assert sorted(ended) == [f"t{number}" for number in range(9)]


async def test_old_tasks_are_removed_oldest_first_with_all_that_is_theirs(store: Store) -> None:
    await _finished(store, "t1", "t2", "t3")
    await store.submit(tool_task("open"))
    assert await _purge(store, LONG) == 0
    assert await _purge(store, timedelta(), 2) == 2
    assert [await _exists(store, task_id) for task_id in ("t1", "t2", "t3", "open")] == [
        False,
        False,
        True,
        True,
    ]
    assert await _purge(store, timedelta(), 2) == 1
    async with store.transactions.read() as transaction:
        for task_id in ("t1", "t2", "t3"):
            assert await transaction.tasks.events(tool_task(task_id).task_id, 0, 10) == ()


async def test_age_counts_from_the_end_and_not_from_the_beginning(store: Store) -> None:
    await store.submit(tool_task("t1"))
    await store.advance(LEASE)
    (task,) = await store.claim()
    async with store.transactions.begin() as transaction:
        await transaction.queue.finish(hold_of(task), DONE)
        assert await transaction.retention.purge(LEASE, 10) == 0


async def test_a_closed_decision_goes_with_its_task(store: Store) -> None:
    await store.submit(tool_task("t1"))
    (task,) = await store.claim()
    async with store.transactions.begin() as transaction:
        await transaction.decisions.ask(hold_of(task), NEW)
        await transaction.tasks.request_cancel(task.task_id)
    await store.advance(timedelta(milliseconds=2))
    assert await _purge(store, timedelta()) == 1
    async with store.transactions.read() as transaction:
        with pytest.raises(DecisionNotFound):
            await transaction.decisions.get(NEW.decision_id)


async def test_what_a_task_said_in_a_conversation_outlives_it(store: Store) -> None:
    async with store.transactions.begin() as transaction:
        new = turn_task("t1", "talk")
        assert new.conversation_id is not None
        await transaction.conversations.add(new.conversation_id, new.payload.agent, new.owner)  # type: ignore[union-attr]
        task = await transaction.tasks.add(new)
        await transaction.conversations.append(new.conversation_id, task.task_id, ())
        await transaction.tasks.request_cancel(task.task_id)
    await store.advance(timedelta(milliseconds=2))
    assert await _purge(store, timedelta()) == 1
    async with store.transactions.read() as transaction:
        kept = await transaction.conversations.get(new.conversation_id)
    assert kept.owner == new.owner
