"""What a store of tasks promises to those who submit them."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from domain.model.callers import CallerId
from domain.model.conversations import ConversationBusy, ConversationId
from domain.model.pages import PageQuery
from domain.model.tasks import (
    EventKind,
    Hold,
    Outcome,
    Task,
    TaskError,
    TaskFinished,
    TaskId,
    TaskNotFound,
    TaskStatus,
    TaskType,
)
from domain.ports.tasks import TaskQuery
from tests.contracts.storage import DONE, LEASE, ME, Store, text_event, tool_task, turn_task

pytestmark = pytest.mark.anyio


async def _cancel(store: Store, task_id: str) -> Task:
    async with store.transactions.begin() as transaction:
        return await transaction.tasks.request_cancel(TaskId(task_id))


async def _finish(store: Store, hold: Hold, outcome: Outcome = DONE) -> Task:
    async with store.transactions.begin() as transaction:
        return await transaction.queue.finish(hold, outcome)


async def test_a_new_task_is_queued_and_due_now(store: Store) -> None:
    (task,) = await store.submit(tool_task("t1", priority=7, max_attempts=5))
    assert replace(task, queue_position=None) == await store.get("t1")
    assert task.payload == tool_task("t1").payload
    assert (task.task_type, task.status, task.owner) == (TaskType.TOOL, TaskStatus.QUEUED, ME)
    assert (task.priority, task.attempt, task.max_attempts) == (7, 0, 5)
    assert task.run_at == task.created_at
    assert task.started_at is task.finished_at is task.deadline_at is None
    assert task.worker is None


async def test_delay_and_deadline_count_from_the_stores_now(store: Store) -> None:
    delay, deadline = timedelta(seconds=90), timedelta(hours=30, milliseconds=250)
    (task,) = await store.submit(tool_task("t1", delay=delay, deadline=deadline))
    assert task.run_at - task.created_at == delay
    assert task.deadline_at is not None
    assert task.deadline_at - task.created_at == deadline


async def test_an_agents_turn_keeps_its_payload_and_type(store: Store) -> None:
    (task,) = await store.submit(turn_task("t1", "talk"))
    assert task.task_type is TaskType.AGENT
    assert task.payload == turn_task("t1", "talk").payload
    assert task.conversation_id == "talk"


async def test_an_unknown_task_is_not_found(store: Store) -> None:
    with pytest.raises(TaskNotFound):
        await store.get("nothing")
    with pytest.raises(TaskNotFound):
        await _cancel(store, "nothing")
    async with store.transactions.read() as transaction:
        assert await transaction.tasks.events(TaskId("nothing"), 0, 10) == ()


async def test_a_second_task_of_a_busy_conversation_is_refused(store: Store) -> None:
    await store.submit(turn_task("t1", "talk"), turn_task("t9", "elsewhere"))
    with pytest.raises(ConversationBusy) as caught:
        await store.submit(turn_task("t2", "talk"))
    assert caught.value.details == {"conversation_id": "talk"}
    (running, _) = await store.claim(2)
    with pytest.raises(ConversationBusy):
        await store.submit(turn_task("t2", "talk"))
    await _finish(store, Hold(task_id=running.task_id, attempt=1))
    await store.submit(turn_task("t2", "talk"))
    await _cancel(store, "t2")
    await store.submit(turn_task("t3", "talk"))


async def test_tasks_without_a_conversation_never_wait_for_each_other(store: Store) -> None:
    await store.submit(tool_task("t1"), tool_task("t2"))


async def test_lists_are_narrowed_and_newest_first(store: Store) -> None:
    await store.submit(*(tool_task(f"t{number}") for number in range(1, 6)))
    await store.submit(tool_task("yours", owner=CallerId("you")), turn_task("turn", "talk"))
    await _cancel(store, "t2")

    async def ids(query: TaskQuery) -> tuple[list[str], int, str | None]:
        async with store.transactions.read() as transaction:
            page = await transaction.tasks.list(query)
        return [task.task_id for task in page.items], page.total_count, page.next_cursor

    mine = TaskQuery(owner=ME, status=TaskStatus.QUEUED, page=PageQuery(limit=3, cursor="turn"))
    assert await ids(mine) == (["t5", "t4", "t3"], 5, "t3")
    rest = TaskQuery(owner=ME, status=TaskStatus.QUEUED, page=PageQuery(limit=3, cursor="t3"))
    assert await ids(rest) == (["t1"], 5, None)
    assert await ids(TaskQuery(owner=CallerId("you"))) == (["yours"], 1, None)
    assert await ids(TaskQuery(conversation_id=ConversationId("talk"))) == (["turn"], 1, None)
    assert (await ids(TaskQuery()))[1] == 7
    unknown = TaskQuery(page=PageQuery(cursor="gone"))
    assert await ids(unknown) == ([], 7, None)


async def test_a_queued_task_is_cancelled_at_once_and_says_why(store: Store) -> None:
    await store.submit(tool_task("t1"))
    task = await _cancel(store, "t1")
    assert task == await store.get("t1")
    assert task.status is TaskStatus.CANCELLED
    assert task.finished_at == task.cancel_requested_at is not None
    assert task.error is not None
    assert task.error.reason == "cancelled"
    async with store.transactions.read() as transaction:
        (event,) = await transaction.tasks.events(task.task_id, 0, 10)
    assert (event.seq, event.attempt, event.kind) == (1, 0, EventKind.ERROR)
    assert event.data == {"reason": "cancelled", "message": task.error.message}
    assert await store.claim() == ()


async def test_the_event_of_a_cancellation_follows_the_earlier_ones(store: Store) -> None:
    hold = await store.claimed()
    async with store.transactions.begin() as transaction:
        await transaction.queue.record(hold, (text_event("a"), text_event("b")))
        await transaction.queue.requeue(hold, timedelta(hours=1), counted=True)
    await _cancel(store, "t1")
    async with store.transactions.read() as transaction:
        events = await transaction.tasks.events(hold.task_id, 0, 10)
    assert [(event.seq, event.kind) for event in events] == [
        (1, EventKind.TEXT),
        (2, EventKind.TEXT),
        (3, EventKind.ERROR),
    ]


async def test_a_running_task_is_only_marked_and_the_first_mark_stays(store: Store) -> None:
    hold = await store.claimed()
    first = await _cancel(store, "t1")
    await store.advance(LEASE)
    second = await _cancel(store, "t1")
    assert (first.status, first.finished_at) == (TaskStatus.RUNNING, None)
    assert first.cancel_requested_at is not None
    assert second.cancel_requested_at == first.cancel_requested_at
    async with store.transactions.read() as transaction:
        assert await transaction.tasks.events(hold.task_id, 0, 10) == ()


async def test_a_task_that_has_ended_cannot_be_cancelled(store: Store) -> None:
    hold = await store.claimed()
    error = TaskError(reason="tool-error", message="It broke.")
    await _finish(store, hold, Outcome(status=TaskStatus.FAILED, error=error))
    with pytest.raises(TaskFinished) as caught:
        await _cancel(store, "t1")
    assert caught.value.details == {"task_id": "t1", "status": "failed"}
    assert (await store.get("t1")).cancel_requested_at is None


async def test_events_are_read_from_a_place_on_and_in_parts(store: Store) -> None:
    hold = await store.claimed()
    async with store.transactions.begin() as transaction:
        await transaction.queue.record(hold, tuple(text_event(str(n)) for n in range(1, 8)))
    async with store.transactions.read() as transaction:
        events = await transaction.tasks.events(hold.task_id, 2, 3)
        last = await transaction.tasks.events(hold.task_id, 7, 3)
        assert await transaction.tasks.events(hold.task_id, 10**18 - 1, 3) == ()
    assert [(event.seq, event.data) for event in events] == [
        (seq, {"text": str(seq)}) for seq in (3, 4, 5)
    ]
    assert last == ()


async def test_counts_name_only_what_there_is(store: Store) -> None:
    await store.submit(tool_task("t1"), tool_task("t2"), tool_task("t3"))
    await _cancel(store, "t2")
    await store.claim()
    async with store.transactions.read() as transaction:
        counts = await transaction.tasks.counts()
    assert counts == {TaskStatus.QUEUED: 1, TaskStatus.CANCELLED: 1, TaskStatus.RUNNING: 1}


async def test_what_a_reader_does_to_a_value_changes_nothing_in_the_store(store: Store) -> None:
    given = tool_task("t1")
    await store.submit(given)
    given.payload.arguments["zone"].append("mine")  # type: ignore[union-attr]
    (await store.get("t1")).payload.arguments["zone"].clear()  # type: ignore[union-attr]
    assert (await store.get("t1")).payload == tool_task("t1").payload
