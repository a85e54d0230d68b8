"""Tasks as upkeep sees them, as rows."""

from datetime import timedelta

from sqlalchemy import Integer, bindparam, delete, null, or_, select, update

from adapters.sql.dialect import Now, after, seconds
from adapters.sql.events import add_events, numbered
from adapters.sql.statements import Statements
from adapters.sql.tables import DATED, ENDED, tasks
from adapters.sql.tasks import VOID, task_of
from domain.model.tasks import OVERDUE, Hold, Task, TaskStatus, last_event

_MOST = bindparam("most", type_=Integer())
_old = tasks.alias("old")
_OVERDUE = (
    select(_old.c.task_id)
    .where(
        DATED,
        _old.c.deadline_at <= Now(),
        or_(_old.c.status != TaskStatus.RUNNING, _old.c.lease_until <= Now()),
    )
    .order_by(_old.c.deadline_at)
    .limit(_MOST)
    .with_for_update(skip_locked=True)
    .cte("overdue")
)
END_OVERDUE = (
    update(tasks)
    .where(tasks.c.task_id.in_(select(_OVERDUE.c.task_id)))
    .values(
        status=OVERDUE.status,
        error=OVERDUE.error,
        finished_at=Now(),
        lease_until=null(),
        last_seq=tasks.c.last_seq + 1,
    )
    .returning(*tasks.c)
)
_LONG_ENDED = (
    select(_old.c.task_id)
    .where(ENDED, _old.c.finished_at <= after("age_s"))
    .order_by(_old.c.finished_at)
    .limit(_MOST)
    .with_for_update(skip_locked=True)
    .cte("long_ended")
)
PURGE = (
    delete(tasks)
    .where(tasks.c.task_id.in_(select(_LONG_ENDED.c.task_id)))
    .returning(tasks.c.task_id)
)


class SqlRetention:
    """The retention of one transaction."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def end_overdue(self, limit: int) -> tuple[Task, ...]:
        rows = await self._statements.rows(END_OVERDUE, {"most": limit})
        if not rows:
            return ()
        ended = tuple(task_of(row) for row in rows)
        events = [
            event
            for task, row in zip(ended, rows, strict=True)
            for event in numbered(
                Hold(task_id=task.task_id, attempt=task.attempt),
                [last_event(task.task_id, OVERDUE)],
                row.last_seq,
            )
        ]
        await add_events(self._statements, events)
        await self._statements.rows(VOID, {"ids": [task.task_id for task in ended]})
        return ended

    async def purge(self, older_than: timedelta, limit: int) -> int:
        values = {"age_s": seconds(-older_than), "most": limit}
        return len(await self._statements.rows(PURGE, values))
