"""Schedules kept in memory."""

from datetime import datetime

import msgspec

from adapters.inmemory.pages import page
from adapters.inmemory.state import Rows, own
from domain.model.callers import CallerId
from domain.model.pages import Page, PageQuery
from domain.model.schedules import NewSchedule, Schedule, ScheduleChanged, ScheduleNotFound
from domain.model.tasks import ScheduleId


class MemorySchedules:
    """The schedules of one transaction."""

    def __init__(self, rows: Rows) -> None:
        self._schedules = rows.state.schedules
        self._clock = rows.clock

    async def add(self, new: NewSchedule) -> Schedule:
        if new.schedule_id in self._schedules:
            raise ValueError(new.schedule_id)
        given = msgspec.structs.asdict(new)
        return self._keep(Schedule(**given, created_at=self._clock.now()))

    async def get(self, schedule_id: ScheduleId) -> Schedule:
        return own(self._found(schedule_id))

    async def list(self, owner: CallerId | None, query: PageQuery) -> Page[Schedule]:
        wanted = (each for each in self._schedules.values() if owner in {None, each.owner})
        cursor = self._schedules.get(ScheduleId(query.cursor or ""))
        return page(wanted, cursor, query, lambda schedule: schedule.schedule_id)

    async def replace(self, schedule: Schedule) -> Schedule:
        kept = self._schedules.get(schedule.schedule_id)
        if kept is None or kept.version != schedule.version:
            raise ScheduleChanged(
                f"The schedule {schedule.schedule_id!r} has changed meanwhile.",
                schedule_id=schedule.schedule_id,
            )
        return self._keep(
            msgspec.structs.replace(
                schedule, owner=kept.owner, created_at=kept.created_at, version=kept.version + 1
            )
        )

    async def remove(self, schedule_id: ScheduleId) -> None:
        self._found(schedule_id)
        del self._schedules[schedule_id]

    async def due(self, limit: int) -> tuple[Schedule, ...]:
        now = self._clock.now()
        due = [
            (each.next_at, each.schedule_id, each)
            for each in self._schedules.values()
            if each.next_at is not None and each.next_at <= now
        ]
        return tuple(own(each) for _, _, each in sorted(due, key=lambda row: row[:2])[:limit])

    async def now(self) -> datetime:
        return self._clock.now()

    def _keep(self, schedule: Schedule) -> Schedule:
        self._schedules[schedule.schedule_id] = own(schedule)
        return own(schedule)

    def _found(self, schedule_id: ScheduleId) -> Schedule:
        schedule = self._schedules.get(schedule_id)
        if schedule is None:
            raise ScheduleNotFound(
                f"There is no schedule {schedule_id!r}.", schedule_id=schedule_id
            )
        return schedule
