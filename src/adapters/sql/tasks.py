"""Tasks as their owners see them, as rows."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Row, bindparam, case, func, insert, null, select, update

from adapters.sql.dialect import Now, after, seconds
from adapters.sql.events import add_events, numbered
from adapters.sql.line import AHEAD_OF_NEW, TURN_OF_NEW, behind, place_in_line
from adapters.sql.pages import page_of, rows_after
from adapters.sql.statements import Statements
from adapters.sql.tables import UNDECIDED, UNFINISHED, decisions, task_events, tasks
from domain.errors import Conflict
from domain.model.conversations import ConversationBusy
from domain.model.decisions import Verdict
from domain.model.pages import Page
from domain.model.tasks import (
    AgentPayload,
    EventKind,
    FiredAlready,
    Hold,
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
from domain.ports.tasks import NewTask, TaskQuery

CANCELLED_EARLY = TaskError(reason="cancelled", message="Cancelled while no worker held it.")

_COLUMNS = tuple(map(str, tasks.c.keys()))
_THIS = tasks.c.task_id == bindparam("this")
_HELD = tasks.c.status == TaskStatus.RUNNING
ADD = (
    insert(tasks)
    .values(
        status=TaskStatus.QUEUED,
        attempt=0,
        last_seq=0,
        created_at=Now(),
        run_at=after("delay_s"),
        deadline_at=after("deadline_s"),
    )
    .returning(*tasks.c)
)
ADD_TO_LINE = ADD.values(turn=TURN_OF_NEW).returning(AHEAD_OF_NEW.label("ahead"))
GET = select(tasks).where(_THIS)
CANCEL = (
    update(tasks)
    .where(_THIS, UNFINISHED)
    .values(
        cancel_requested_at=func.coalesce(tasks.c.cancel_requested_at, Now()),
        status=case((_HELD, tasks.c.status), else_=TaskStatus.CANCELLED),
        finished_at=case((_HELD, null()), else_=Now()),
        error=case((_HELD, tasks.c.error), else_=bindparam("reason", type_=tasks.c.error.type)),
        last_seq=tasks.c.last_seq + case((_HELD, 0), else_=1),
    )
    .returning(*tasks.c)
)
EVENTS = (
    select(task_events)
    .where(
        task_events.c.task_id == bindparam("this"),
        task_events.c.seq > bindparam("after", type_=BigInteger()),  # it comes from outside
    )
    .order_by(task_events.c.seq)
    .limit(bindparam("most"))
)
VOID = (
    update(decisions)
    .where(decisions.c.task_id.in_(bindparam("ids", expanding=True)), UNDECIDED)
    .values(decision=Verdict.VOID, decided_at=Now())
)
# What nobody decided before the task ended.
COUNTS = select(tasks.c.status, func.count().label("number")).group_by(tasks.c.status)


def task_of(row: Row[Any]) -> Task:
    """A row of `tasks` as the domain's value."""
    # By names that are known: to ask a row for each field costs more than all else of this.
    return msgspec.convert(dict(zip(_COLUMNS, row, strict=False)), Task)


def _conflicts(new: NewTask) -> dict[str, Conflict]:
    conflicts: dict[str, Conflict] = {}
    if new.conversation_id is not None:
        conflicts["uq_tasks_busy_conversation"] = ConversationBusy(
            f"A turn of the conversation {new.conversation_id!r} is still under way.",
            conversation_id=new.conversation_id,
        )
    if new.fire is not None:
        conflicts["uq_tasks_fire"] = FiredAlready(
            f"The schedule {new.fire.schedule_id!r} has a task for that time.",
            schedule_id=new.fire.schedule_id,
        )
    return conflicts


class SqlTasks:
    """The tasks of one transaction."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def add(self, new: NewTask) -> Task:
        kind = TaskType.AGENT if isinstance(new.payload, AgentPayload) else TaskType.TOOL
        values = {
            "task_id": new.task_id,
            "task_type": kind,
            "payload": new.payload,
            "priority": new.priority,
            "owner": new.owner,
            "lane": new.lane,
            "conversation_id": new.conversation_id,
            "max_attempts": new.max_attempts,
            "retry": new.retry,
            "on_indeterminate": new.on_indeterminate,
            "delay_s": seconds(new.delay),
            "deadline_s": seconds(new.deadline),
            "schedule_id": None if new.fire is None else new.fire.schedule_id,
            "scheduled_for": None if new.fire is None else new.fire.scheduled_for,
        }
        conflicts = _conflicts(new)
        if new.delay > timedelta():
            rows = await self._statements.rows(ADD, values, conflicts, alone=True)
            return task_of(rows[0])
        values |= {"joins_as": new.owner, "joins_at": new.priority}
        rows = await self._statements.rows(ADD_TO_LINE, values, conflicts, alone=True)
        place = behind(rows[0].ahead)
        return msgspec.structs.replace(task_of(rows[0]), queue_position=place)

    async def get(self, task_id: TaskId) -> Task:
        row = await self._statements.first(GET, {"this": task_id})
        if row is None:
            raise TaskNotFound(f"There is no task {task_id!r}.", task_id=task_id)
        return task_of(row)

    async def list(self, query: TaskQuery) -> Page[Task]:
        wanted = [
            column == value
            for column, value in (
                (tasks.c.owner, query.owner),
                (tasks.c.status, query.status),
                (tasks.c.conversation_id, query.conversation_id),
            )
            if value is not None
        ]
        part = rows_after(tasks.c.task_id, wanted, query.page)
        rows = await self._statements.rows(part.rows)
        total = await self._statements.rows(part.total)
        items = tuple(task_of(row) for row in rows)
        return page_of(items, total[0][0], query.page, lambda task: task.task_id)

    async def request_cancel(self, task_id: TaskId) -> Task:
        row = await self._statements.first(CANCEL, {"this": task_id, "reason": CANCELLED_EARLY})
        if row is None:
            ended = await self.get(task_id)
            raise TaskFinished(
                f"The task {task_id!r} has {ended.status.value}.",
                task_id=task_id,
                status=ended.status.value,
            )
        task = task_of(row)
        if task.status is TaskStatus.CANCELLED:
            data = msgspec.to_builtins(CANCELLED_EARLY)
            hold = Hold(task_id=task_id, attempt=task.attempt)
            rows = numbered(hold, [NewEvent(kind=EventKind.ERROR, data=data)], row.last_seq)
            await add_events(self._statements, rows)
            await self._statements.rows(VOID, {"ids": [task_id]})
        return task

    async def events(self, task_id: TaskId, after: int, limit: int) -> tuple[TaskEvent, ...]:
        place = {"this": task_id, "after": after, "most": limit}
        rows = await self._statements.rows(EVENTS, place)
        return tuple(msgspec.convert(row, TaskEvent, from_attributes=True) for row in rows)

    async def counts(self) -> Mapping[TaskStatus, int]:
        rows = await self._statements.rows(COUNTS)
        return {TaskStatus(row.status): row.number for row in rows}

    async def place(self, task: Task) -> int | None:
        return await place_in_line(self._statements, task)
