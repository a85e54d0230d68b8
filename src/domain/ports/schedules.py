"""Schedules as rows, and the calendar that tells their times."""

from datetime import datetime, timedelta
from typing import Protocol

from domain.model.callers import CallerId
from domain.model.pages import Page, PageQuery
from domain.model.schedules import NewSchedule, Schedule
from domain.model.tasks import ScheduleId


class Calendar(Protocol):
    """Times that cron expressions name, in the time zones of people.

    They lie on whole multiples of `grain`.
    """

    grain: timedelta

    def next_after(self, cron: str, timezone: str, after: datetime) -> datetime:
        """The first time later than `after`, in UTC.

        Five fields: minute, hour, day of month, month, day of week. The zone is an IANA name.
        Where a zone's clocks are put forward, a fixed time that is left out falls on the first
        instant after the gap; where they are put back, a fixed time falls once, at the first of
        the two. Expressions whose minute or hour begins with `*` follow real time instead.

        Raises CronInvalid, whose message names the field that is wrong.
        """
        ...


class ScheduleStore(Protocol):
    """Schedules by their id. The store's clock decides what is due."""

    async def add(self, new: NewSchedule) -> Schedule:
        """Keep a new schedule."""
        ...

    async def get(self, schedule_id: ScheduleId) -> Schedule:
        """Raises ScheduleNotFound."""
        ...

    async def list(self, owner: CallerId | None, query: PageQuery) -> Page[Schedule]:
        """Newest first, those of `owner` or of everyone; the cursor is the id."""
        ...

    async def replace(self, schedule: Schedule) -> Schedule:
        """Keep another version of it; owner and `created_at` stay.

        `version` is the one that was read and comes back one higher. Raises ScheduleChanged
        where it is no longer the present one, or the schedule is gone.
        """
        ...

    async def remove(self, schedule_id: ScheduleId) -> None:
        """Raises ScheduleNotFound."""
        ...

    async def due(self, limit: int) -> tuple[Schedule, ...]:
        """Those whose `next_at` has come, longest due first."""
        ...

    async def now(self) -> datetime:
        """The store's time, by which `next_at` is to be worked out."""
        ...
