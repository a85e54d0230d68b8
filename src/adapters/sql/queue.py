"""Tasks as workers see them: each claim and each write is one statement, fenced by the attempt."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy import Row, Select, and_, bindparam, func, null, or_, select, tuple_, update

from adapters.sql.dialect import Now, after, seconds
from adapters.sql.statements import Statements
from adapters.sql.tables import CLAIMABLE, tasks
from adapters.sql.tasks import ADD_EVENTS, task_of
from domain.model.tasks import (
    EventKind,
    Hold,
    NewEvent,
    Outcome,
    StaleAttempt,
    Task,
    TaskId,
    TaskProgress,
    TaskStatus,
    WorkerId,
)
from domain.ports.tasks import Pulse

_due = tasks.alias("due")
_IS_DUE = or_(
    and_(_due.c.status == TaskStatus.QUEUED, _due.c.run_at <= Now()),
    and_(_due.c.status == TaskStatus.RUNNING, _due.c.lease_until <= Now()),
)
_NEXT = (
    select(_due.c.task_id)
    .where(CLAIMABLE, _IS_DUE)
    .order_by(_due.c.priority.desc(), _due.c.created_at, _due.c.task_id)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)


def _claim(chosen: Select[tuple[str]]) -> Any:
    return (
        update(tasks)
        .where(tasks.c.task_id.in_(chosen))
        .values(
            status=TaskStatus.RUNNING,
            attempt=tasks.c.attempt + 1,
            started_at=func.coalesce(tasks.c.started_at, Now()),
            worker=bindparam("by"),
            lease_until=after("lease_s"),
        )
        .returning(*tasks.c)
    )


CLAIM = _claim(_NEXT)
CLAIM_ONLY = _claim(_NEXT.where(_due.c.task_id == bindparam("only")))

_HELD = and_(
    tasks.c.task_id == bindparam("held"),
    tasks.c.attempt == bindparam("held_attempt"),
    tasks.c.status == TaskStatus.RUNNING,
)
HEARTBEAT = (
    update(tasks)
    .where(
        # SQLite finds pairs by no index: the ids alone lead it to the rows.
        tasks.c.task_id.in_(bindparam("ids", expanding=True)),
        tuple_(tasks.c.task_id, tasks.c.attempt).in_(bindparam("holds", expanding=True)),
        tasks.c.status == TaskStatus.RUNNING,
        tasks.c.worker == bindparam("by"),
    )
    .values(lease_until=after("lease_s"))
    .returning(tasks.c.task_id, tasks.c.attempt, tasks.c.cancel_requested_at)
)
_SEQ = tasks.c.last_seq + bindparam("number")
RESERVE = update(tasks).where(_HELD).values(last_seq=_SEQ).returning(tasks.c.last_seq)
RESERVE_WITH_PROGRESS = RESERVE.values(progress=bindparam("latest", type_=tasks.c.progress.type))
FINISH = (
    update(tasks)
    .where(_HELD)
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
    .where(_HELD)
    .values(
        status=TaskStatus.QUEUED,
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
        CLAIMABLE,
        tasks.c.status == TaskStatus.RUNNING,
        tasks.c.worker == bindparam("by"),
        tasks.c.lease_until > Now(),
    )
    .values(lease_until=Now())
    .returning(tasks.c.task_id)
)


class SqlQueue:
    """The queue within one transaction."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def claim(
        self, worker: WorkerId, lease: timedelta, limit: int, only: TaskId | None = None
    ) -> tuple[Task, ...]:
        values = {"by": worker, "lease_s": seconds(lease), "most": limit}
        if only is None:
            rows = await self._statements.rows(CLAIM, values)
        else:
            rows = await self._statements.rows(CLAIM_ONLY, {**values, "only": only})
        claimed = (task_of(row) for row in rows)
        return tuple(sorted(claimed, key=lambda t: (-t.priority, t.created_at, t.task_id)))

    async def heartbeat(self, worker: WorkerId, lease: timedelta, holds: tuple[Hold, ...]) -> Pulse:
        if not holds:
            return Pulse()
        values = {
            "by": worker,
            "lease_s": seconds(lease),
            "ids": [hold.task_id for hold in holds],
            "holds": [(hold.task_id, hold.attempt) for hold in holds],
        }
        rows = await self._statements.rows(HEARTBEAT, values)
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
        last = int((await self._held(statement, hold, values)).last_seq)
        rows = [
            {
                "task_id": hold.task_id,
                "seq": seq,
                "attempt": hold.attempt,
                "kind": event.kind,
                "data": event.data,
            }
            for seq, event in enumerate(events, last - len(events) + 1)
        ]
        if rows:
            await self._statements.rows(ADD_EVENTS, rows)
        return last

    async def finish(self, hold: Hold, outcome: Outcome) -> Task:
        values = {"ending": outcome.status, "outcome": outcome.result, "reason": outcome.error}
        return task_of(await self._held(FINISH, hold, values))

    async def requeue(self, hold: Hold, delay: timedelta, *, counted: bool) -> Task:
        values = {"delay_s": seconds(delay), "more": 0 if counted else 1}
        return task_of(await self._held(REQUEUE, hold, values))

    async def abandon(self, worker: WorkerId) -> int:
        return len(await self._statements.rows(ABANDON, {"by": worker}))

    async def _held(self, statement: Any, hold: Hold, values: Mapping[str, Any]) -> Row[Any]:
        fence = {"held": hold.task_id, "held_attempt": hold.attempt}
        row = await self._statements.first(statement, {**fence, **values})
        if row is None:
            raise StaleAttempt(
                f"Attempt {hold.attempt} of the task {hold.task_id!r} no longer counts.",
                task_id=hold.task_id,
                attempt=hold.attempt,
            )
        return row
