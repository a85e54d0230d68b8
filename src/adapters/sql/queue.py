"""Tasks as workers see them: each write is one statement, fenced by the attempt."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import (
    Float,
    Row,
    and_,
    bindparam,
    case,
    null,
    tuple_,
    update,
)

from adapters.sql.claims import claimed
from adapters.sql.dialect import Now, after, seconds
from adapters.sql.events import add_events, numbered
from adapters.sql.groups import locked, written
from adapters.sql.statements import Statements
from adapters.sql.tables import RUNNING, tasks
from adapters.sql.tasks import task_of
from domain.model.tasks import (
    EventKind,
    Hold,
    Lane,
    NewEvent,
    Outcome,
    StaleAttempt,
    Task,
    TaskId,
    TaskProgress,
    TaskStatus,
    WorkerId,
)
from domain.ports.tasks import UNCAPPED, Entry, Pulse

HELD = and_(
    tasks.c.task_id == bindparam("held"),
    tasks.c.attempt == bindparam("held_attempt"),
    tasks.c.status == TaskStatus.RUNNING,
)
HEARTBEAT = (
    update(tasks)
    .where(
        # SQLite finds pairs by no index: the ids alone lead it to the rows.
        tasks.c.task_id.in_(locked(bindparam("ids", expanding=True))),
        tuple_(tasks.c.task_id, tasks.c.attempt).in_(bindparam("holds", expanding=True)),
        tasks.c.status == TaskStatus.RUNNING,
        tasks.c.worker == bindparam("by"),
    )
    .values(lease_until=after("lease_s"))
    .returning(tasks.c.task_id, tasks.c.attempt, tasks.c.cancel_requested_at)
)
_SEQ = tasks.c.last_seq + bindparam("number")
RESERVE = update(tasks).where(HELD).values(last_seq=_SEQ).returning(tasks.c.last_seq)
RESERVE_WITH_PROGRESS = RESERVE.values(progress=bindparam("latest", type_=tasks.c.progress.type))
FINISH = (
    update(tasks)
    .where(HELD)
    .values(
        status=bindparam("ending"),
        result=bindparam("outcome", type_=tasks.c.result.type),
        error=bindparam("reason", type_=tasks.c.error.type),
        finished_at=Now(),
        lease_until=null(),
    )
    .returning(*tasks.c)
)
REQUEUE = (
    update(tasks)
    .where(HELD)
    .values(
        status=TaskStatus.QUEUED,
        turn=case((bindparam("delay_s", type_=Float()) > 0, null()), else_=tasks.c.turn),
        run_at=after("delay_s"),
        max_attempts=tasks.c.max_attempts + bindparam("more"),
        worker=null(),
        lease_until=null(),
    )
    .returning(*tasks.c)
)
ABANDON = (
    update(tasks)
    .where(
        RUNNING,
        tasks.c.worker == bindparam("by"),
        tasks.c.lease_until > Now(),
    )
    .values(lease_until=Now())
    .returning(tasks.c.task_id)
)


def _place(task: Task) -> tuple[int, int, datetime, str]:
    return -task.priority, task.turn or 0, task.created_at, task.task_id


class SqlQueue:
    """The queue within one transaction."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def claim(
        self,
        worker: WorkerId,
        lease: timedelta,
        limit: int,
        only: TaskId | None = None,
        caps: Mapping[Lane, int] = UNCAPPED,
    ) -> tuple[Task, ...]:
        taking = {"by": worker, "lease_s": seconds(lease)}
        rows = await claimed(self._statements, taking, limit, only, caps)
        return tuple(sorted(map(task_of, rows), key=_place))

    async def heartbeat(self, worker: WorkerId, lease: timedelta, holds: tuple[Hold, ...]) -> Pulse:
        if not holds:
            return Pulse()
        values = {
            "by": worker,
            "lease_s": seconds(lease),
            "ids": [hold.task_id for hold in holds],
            "holds": [(hold.task_id, hold.attempt) for hold in holds],
        }
        rows = await self._statements.rows(HEARTBEAT, values, alone=True)
        kept = {Hold(task_id=row.task_id, attempt=row.attempt): row for row in rows}
        return Pulse(
            lost=tuple(hold for hold in holds if hold not in kept),
            cancelled=tuple(
                hold for hold in holds if hold in kept and kept[hold].cancel_requested_at
            ),
        )

    async def record(self, hold: Hold, events: tuple[NewEvent, ...]) -> int:
        values: dict[str, Any] = {"number": len(events)}
        statement = RESERVE
        reports = [event.data for event in events if event.kind is EventKind.PROGRESS]
        if reports:
            statement = RESERVE_WITH_PROGRESS
            values["latest"] = msgspec.convert(reports[-1], TaskProgress)
        row = await held(self._statements, statement, hold, values)
        await add_events(self._statements, numbered(hold, events, row.last_seq))
        return int(row.last_seq)

    async def write(self, entries: tuple[Entry, ...]) -> tuple[int | None, ...]:
        return await written(self._statements, entries)

    async def finish(self, hold: Hold, outcome: Outcome) -> Task:
        values = {"ending": outcome.status, "outcome": outcome.result, "reason": outcome.error}
        return task_of(await held(self._statements, FINISH, hold, values))

    async def requeue(self, hold: Hold, delay: timedelta, *, counted: bool) -> Task:
        values = {"delay_s": seconds(delay), "more": 0 if counted else 1}
        return task_of(await held(self._statements, REQUEUE, hold, values))

    async def abandon(self, worker: WorkerId) -> int:
        return len(await self._statements.rows(ABANDON, {"by": worker}))


async def held(
    statements: Statements, statement: Any, hold: Hold, values: Mapping[str, Any]
) -> Row[Any]:
    """The row of a task that is written behind the fence HELD. Raises StaleAttempt."""
    fence = {"held": hold.task_id, "held_attempt": hold.attempt}
    row = await statements.first(statement, {**fence, **values})
    if row is None:
        raise StaleAttempt(
            f"Attempt {hold.attempt} of the task {hold.task_id!r} no longer counts.",
            task_id=hold.task_id,
            attempt=hold.attempt,
        )
    return row
