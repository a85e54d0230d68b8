"""Schedules as rows."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, bindparam, delete, insert, select, update

from adapters.sql.dialect import Now
from adapters.sql.pages import page_of, rows_after
from adapters.sql.statements import Statements
from adapters.sql.tables import schedules
from domain.model.callers import CallerId
from domain.model.pages import Page, PageQuery
from domain.model.schedules import NewSchedule, Schedule, ScheduleChanged, ScheduleNotFound
from domain.model.tasks import ScheduleId

_THIS = schedules.c.schedule_id == bindparam("this")
ADD = insert(schedules).values(created_at=Now(), version=1).returning(*schedules.c)
GET = select(schedules).where(_THIS)
REPLACE = (
    update(schedules)
    .where(_THIS, schedules.c.version == bindparam("seen"))
    .values(version=schedules.c.version + 1)
    .returning(*schedules.c)
)
REMOVE = delete(schedules).where(_THIS).returning(schedules.c.schedule_id)
DUE = (
    select(schedules)
    .where(schedules.c.next_at <= Now())
    .order_by(schedules.c.next_at, schedules.c.schedule_id)
    .limit(bindparam("most"))
)
NOW = select(Now())
_NEW = NewSchedule.__struct_fields__
_FIXED = frozenset({"schedule_id", "owner", "created_at", "version"})
_CHANGING = tuple(name for name in Schedule.__struct_fields__ if name not in _FIXED)


class SqlSchedules:
    """The schedules of one transaction."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def add(self, new: NewSchedule) -> Schedule:
        rows = await self._statements.rows(ADD, {name: getattr(new, name) for name in _NEW})
        return _schedule(rows[0])

    async def get(self, schedule_id: ScheduleId) -> Schedule:
        row = await self._statements.first(GET, {"this": schedule_id})
        if row is None:
            raise _unknown(schedule_id)
        return _schedule(row)

    async def list(self, owner: CallerId | None, query: PageQuery) -> Page[Schedule]:
        wanted = [] if owner is None else [schedules.c.owner == owner]
        part = rows_after(schedules.c.schedule_id, wanted, query)
        rows = await self._statements.rows(part.rows)
        total = await self._statements.rows(part.total)
        items = tuple(_schedule(row) for row in rows)
        return page_of(items, total[0][0], query, lambda item: item.schedule_id)

    async def replace(self, schedule: Schedule) -> Schedule:
        place = {"this": schedule.schedule_id, "seen": schedule.version}
        values = {name: getattr(schedule, name) for name in _CHANGING}
        row = await self._statements.first(REPLACE, {**place, **values})
        if row is None:
            raise ScheduleChanged(
                f"The schedule {schedule.schedule_id!r} has changed meanwhile.",
                schedule_id=schedule.schedule_id,
            )
        return _schedule(row)

    async def remove(self, schedule_id: ScheduleId) -> None:
        if await self._statements.first(REMOVE, {"this": schedule_id}) is None:
            raise _unknown(schedule_id)

    async def due(self, limit: int) -> tuple[Schedule, ...]:
        rows = await self._statements.rows(DUE, {"most": limit})
        return tuple(_schedule(row) for row in rows)

    async def now(self) -> datetime:
        now: datetime = (await self._statements.rows(NOW))[0][0]
        return now


def _schedule(row: Row[Any]) -> Schedule:
    return msgspec.convert(row, Schedule, from_attributes=True)


def _unknown(schedule_id: ScheduleId) -> ScheduleNotFound:
    return ScheduleNotFound(f"There is no schedule {schedule_id!r}.", schedule_id=schedule_id)
