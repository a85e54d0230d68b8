"""What the contract suites of storage share: a store to test, and small values to keep."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import msgspec

from domain.model.callers import CallerId
from domain.model.conversations import ConversationId
from domain.model.tasks import (
    AgentPayload,
    EventKind,
    Hold,
    NewEvent,
    Outcome,
    Task,
    TaskId,
    TaskStatus,
    ToolPayload,
    WorkerId,
    server_lane,
)
from domain.ports.storage import Transactions
from domain.ports.tasks import NewTask

LEASE = timedelta(milliseconds=150)
LONG = timedelta(minutes=5)
ME = CallerId("me")
WORKER = WorkerId("worker-1")
DONE = Outcome(status=TaskStatus.SUCCEEDED, result={"answer": 42})


class Store(msgspec.Struct, frozen=True, kw_only=True):
    """A store, and the way to let its clock move."""

    transactions: Transactions
    advance: Callable[[timedelta], Awaitable[None]]

    async def submit(self, *tasks: NewTask) -> tuple[Task, ...]:
        async with self.transactions.begin() as transaction:
            return tuple([await transaction.tasks.add(task) for task in tasks])

    async def get(self, task_id: str) -> Task:
        async with self.transactions.read() as transaction:
            return await transaction.tasks.get(TaskId(task_id))

    async def claim(
        self, limit: int = 1, *, worker: WorkerId = WORKER, lease: timedelta = LONG
    ) -> tuple[Task, ...]:
        async with self.transactions.single() as transaction:
            return await transaction.queue.claim(worker, lease, limit)

    async def claimed(self, task_id: str = "t1", **options: Any) -> Hold:
        """A new task, claimed at once."""
        await self.submit(tool_task(task_id))
        (task,) = await self.claim(**options)
        return hold_of(task)


def tool_task(task_id: str, **changes: Any) -> NewTask:
    payload = ToolPayload(server="clock", tool="now", arguments={"zone": ["UTC", 1, None]})
    new = NewTask(task_id=TaskId(task_id), payload=payload, owner=ME, lane=server_lane("clock"))
    return msgspec.structs.replace(new, **changes)


def turn_task(task_id: str, conversation_id: str) -> NewTask:
    conversation = ConversationId(conversation_id)
    payload = AgentPayload(agent="helper", message="Hello", conversation_id=conversation)  # type: ignore[arg-type]
    return tool_task(task_id, payload=payload, conversation_id=conversation)


def hold_of(task: Task) -> Hold:
    return Hold(task_id=task.task_id, attempt=task.attempt)


def text_event(text: str) -> NewEvent:
    return NewEvent(kind=EventKind.TEXT, data={"text": text})
