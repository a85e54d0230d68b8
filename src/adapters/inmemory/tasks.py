"""Tasks as their owners see them, kept in memory."""

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta

import msgspec

from adapters.inmemory.decisions import void
from adapters.inmemory.events import put
from adapters.inmemory.line import in_line, joined, place_of
from adapters.inmemory.pages import page
from adapters.inmemory.state import Rows, own
from domain.model.conversations import ConversationBusy
from domain.model.pages import Page
from domain.model.tasks import (
    FINISHED,
    AgentPayload,
    EventKind,
    Fire,
    FiredAlready,
    NewEvent,
    Task,
    TaskError,
    TaskEvent,
    TaskFinished,
    TaskId,
    TaskNotFound,
    TaskStatus,
    TaskType,
)
from domain.ports.tasks import MOST_COUNTED, NewTask, TaskQuery

CANCELLED_EARLY = TaskError(reason="cancelled", message="Cancelled while no worker held it.")


class MemoryTasks:
    """The tasks of one transaction."""

    def __init__(self, rows: Rows) -> None:
        self._state = rows.state
        self._clock = rows.clock

    async def add(self, new: NewTask) -> Task:
        if new.task_id in self._state.tasks:
            raise ValueError(new.task_id)
        self._require_idle_conversation(new)
        if new.fire is not None:
            self._require_fresh(new.fire)
        now = self._clock.now()
        kind = TaskType.AGENT if isinstance(new.payload, AgentPayload) else TaskType.TOOL
        task = Task(
            task_id=new.task_id,
            task_type=kind,
            status=TaskStatus.QUEUED,
            payload=new.payload,
            priority=new.priority,
            owner=new.owner,
            lane=new.lane,
            conversation_id=new.conversation_id,
            max_attempts=new.max_attempts,
            retry=new.retry,
            on_indeterminate=new.on_indeterminate,
            run_at=now + new.delay,
            deadline_at=None if new.deadline is None else now + new.deadline,
            created_at=now,
            schedule_id=None if new.fire is None else new.fire.schedule_id,
            scheduled_for=None if new.fire is None else new.fire.scheduled_for,
        )
        if new.delay > timedelta():
            return self._keep(task)
        kept = self._keep(joined(self._state, task))
        return msgspec.structs.replace(kept, queue_position=await self.place(kept))

    async def get(self, task_id: TaskId) -> Task:
        return own(self._found(task_id))

    async def list(self, query: TaskQuery) -> Page[Task]:
        wanted = (
            task
            for task in self._state.tasks.values()
            if query.owner in {None, task.owner}
            and query.status in {None, task.status}
            and query.conversation_id in {None, task.conversation_id}
        )
        cursor = self._state.tasks.get(TaskId(query.page.cursor or ""))
        return page(wanted, cursor, query.page, lambda task: task.task_id)

    async def request_cancel(self, task_id: TaskId) -> Task:
        task = self._found(task_id)
        if task.status in FINISHED:
            raise TaskFinished(
                f"The task {task_id!r} has {task.status.value}.",
                task_id=task_id,
                status=task.status.value,
            )
        now = self._clock.now()
        marked = msgspec.structs.replace(task, cancel_requested_at=task.cancel_requested_at or now)
        if task.status is TaskStatus.RUNNING:
            return self._keep(marked)
        data = msgspec.to_builtins(CANCELLED_EARLY)
        told = put(self._state, marked, (NewEvent(kind=EventKind.ERROR, data=data),), now)
        void(self._state, task_id, now)
        return self._keep(
            msgspec.structs.replace(
                told, status=TaskStatus.CANCELLED, finished_at=now, error=CANCELLED_EARLY
            )
        )

    async def events(self, task_id: TaskId, after: int, limit: int) -> tuple[TaskEvent, ...]:
        events = self._state.events.get(task_id, ())
        return tuple(own(event) for event in events if event.seq > after)[:limit]

    async def counts(self) -> Mapping[TaskStatus, int]:
        return dict(Counter(task.status for task in self._state.tasks.values()))

    async def place(self, task: Task) -> int | None:
        if task.turn is None:
            return None
        before = sum(place_of(other) < place_of(task) for other in in_line(self._state))
        return min(before + 1, MOST_COUNTED)

    def _require_idle_conversation(self, new: NewTask) -> None:
        if new.conversation_id is not None and any(
            task.conversation_id == new.conversation_id for task in self._state.unfinished.values()
        ):
            raise ConversationBusy(
                f"A turn of the conversation {new.conversation_id!r} is still under way.",
                conversation_id=new.conversation_id,
            )

    def _require_fresh(self, fire: Fire) -> None:
        wanted = (fire.schedule_id, fire.scheduled_for)
        tasks = self._state.tasks.values()
        if any((task.schedule_id, task.scheduled_for) == wanted for task in tasks):
            raise FiredAlready(
                f"The schedule {fire.schedule_id!r} has a task for that time.",
                schedule_id=fire.schedule_id,
            )

    def _keep(self, task: Task) -> Task:
        self._state.keep_task(own(task))
        return own(task)

    def _found(self, task_id: TaskId) -> Task:
        task = self._state.tasks.get(task_id)
        if task is None:
            raise TaskNotFound(f"There is no task {task_id!r}.", task_id=task_id)
        return task
