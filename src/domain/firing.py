"""Firing schedules: at each of their times a task, once, however many processes look."""

import logging
from datetime import datetime
from typing import Any

import msgspec

from domain.errors import Failure
from domain.model.callers import Caller, Scope
from domain.model.schedules import CronInvalid, Schedule, ScheduleChanged, ScheduledWork
from domain.model.tasks import Fire, FiredAlready
from domain.ports.schedules import Calendar
from domain.ports.signals import Signals
from domain.ports.storage import StorageUnavailable, Transactions
from domain.tasks import topics
from domain.tasks.service import SubmitTask, TaskService

OWNERS_SCOPES = frozenset({Scope.READ, Scope.CHAT, Scope.TASKS})
# A fire acts for the schedule's owner, who needed TASKS to keep it; it never administers.
BATCH = 100

logger = logging.getLogger(__name__)


class Firing:
    """The chore that fires what is due."""

    def __init__(
        self, transactions: Transactions, signals: Signals, tasks: TaskService, calendar: Calendar
    ) -> None:
        self._transactions = transactions
        self._signals = signals
        self._tasks = tasks
        self._calendar = calendar

    async def fire_due(self) -> int:
        """Submit a task for each schedule whose time has come; return how many this brought.

        Any number of processes may do this at once: each time brings one task. Of times that
        were missed the latest brings one, the others none. Raises StorageUnavailable.
        """
        async with self._transactions.read() as transaction:
            due = await transaction.schedules.due(BATCH)
            if not due:
                return 0
            now = await transaction.schedules.now()
        fired = [schedule for schedule in due if await self._fire(schedule, now)]
        if fired:
            self._signals.publish(topics.WAKE, {})
        return len(fired)

    async def _fire(self, schedule: Schedule, now: datetime) -> bool:
        try:
            fired = msgspec.structs.replace(
                schedule,
                last_at=self._latest(schedule, now),
                last_error=None,
                next_at=self._next(schedule, now),
            )
        except CronInvalid as failure:
            # This machine no longer knows the zone: nobody can tell when the next time is.
            await self._failed(schedule, failure, enabled=False, next_at=None)
            return False
        try:
            await self._submit(fired)
        except ScheduleChanged:
            return False  # another process was first, or the owner
        except StorageUnavailable:
            raise
        except FiredAlready:
            # The clock was put back: only the way to the next time is missing.
            await self._advanced(fired)
            return False
        except Failure as failure:
            await self._failed(fired, failure)
            return False
        return True

    async def _submit(self, fired: Schedule) -> None:
        owner = Caller(id=fired.owner, scopes=OWNERS_SCOPES)
        assert fired.last_at is not None  # noqa: S101 - its caller has just set it
        fire = Fire(schedule_id=fired.schedule_id, scheduled_for=fired.last_at)
        async with self._transactions.begin() as transaction:
            task = await self._tasks.add(transaction, owner, submit_of(fired.work), fire)
            await transaction.schedules.replace(
                msgspec.structs.replace(fired, last_task_id=task.task_id)
            )

    async def _failed(self, fired: Schedule, failure: Failure, **changes: Any) -> None:
        told = msgspec.structs.replace(fired, last_error=failure.message, **changes)
        if await self._advanced(told):
            logger.warning("schedule %s brought no task: %s", fired.schedule_id, failure.message)

    async def _advanced(self, fired: Schedule) -> bool:
        """Keep it without a task; false where another process was first, or the owner."""
        try:
            async with self._transactions.begin() as transaction:
                await transaction.schedules.replace(fired)
        except ScheduleChanged:
            return False
        return True

    def _next(self, schedule: Schedule, after: datetime) -> datetime:
        return self._calendar.next_after(schedule.cron, schedule.timezone, after)

    def _latest(self, schedule: Schedule, now: datetime) -> datetime:
        """The last of its times up to now."""
        first = schedule.next_at
        assert first is not None  # noqa: S101 - it is due
        if self._next(schedule, first) > now:
            return first
        grain = self._calendar.grain
        low, high = 0, (now - first) // grain + 1
        while high - low > 1:
            middle = (low + high) // 2
            if self._next(schedule, first + middle * grain) <= now:
                low = middle
            else:
                high = middle
        return self._next(schedule, first + low * grain)


def submit_of(work: ScheduledWork) -> SubmitTask:
    """What each fire submits."""
    return SubmitTask(
        payload=work.payload,
        priority=work.priority,
        max_attempts=work.max_attempts,
        deadline=work.deadline,
        retry=work.retry,
        on_indeterminate=work.on_indeterminate,
    )
