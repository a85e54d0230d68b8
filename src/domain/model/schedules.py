"""Schedules: work that becomes a task at every time that a cron expression names."""

from datetime import datetime, timedelta

import msgspec

from domain.errors import Conflict, Invalid, NotFound
from domain.model.callers import CallerId
from domain.model.retries import DEFAULT_RETRY, RetryPolicy
from domain.model.tasks import OnIndeterminate, Payload, ScheduleId, TaskId


class ScheduleNotFound(NotFound):
    """No schedule has this id."""


class ScheduleChanged(Conflict):
    """The schedule is no longer as it was read: it fired or was changed meanwhile."""


class CronInvalid(Invalid):
    """The cron expression, or its time zone, is none; the message names the field."""


class ScheduledWork(msgspec.Struct, frozen=True, kw_only=True):
    """What each fire submits. `deadline` counts from the fire."""

    payload: Payload
    priority: int = 0
    max_attempts: int = 3
    deadline: timedelta | None = None
    retry: RetryPolicy = DEFAULT_RETRY
    on_indeterminate: OnIndeterminate = OnIndeterminate.FAIL


class NewSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule to keep."""

    schedule_id: ScheduleId
    name: str
    cron: str
    timezone: str
    work: ScheduledWork
    owner: CallerId
    enabled: bool = True
    next_at: datetime | None = None


class Schedule(NewSchedule, frozen=True, kw_only=True):
    """A schedule as it stands.

    `next_at` is None while it is paused. `last_at` is the time for which it fired last, and
    `last_error` says why that fire brought no task. `version` counts its changes from 1.
    """

    created_at: datetime
    last_at: datetime | None = None
    last_task_id: TaskId | None = None
    last_error: str | None = None
    version: int = 1
