"""Schedules over HTTP: work that becomes a task at every time that a cron expression names."""

from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
from litestar import Router, delete, get, patch, post
from litestar.params import JSONBody
from litestar.types import Scope

from domain.model.pages import PageQuery
from domain.model.schedules import Schedule, ScheduledWork
from domain.model.tasks import AgentPayload, OnIndeterminate, Payload, ScheduleId, TaskType
from domain.schedules import AddSchedule, ScheduleChange, ScheduleService
from entrypoints.http.keys import ONCE, Key
from entrypoints.http.problems import BodyInvalid
from entrypoints.http.requests import Cursor, Id, Limit, Service, caller_of, decoded
from entrypoints.http.task_bodies import (
    AgentWork,
    Deadline,
    MaxAttempts,
    Priority,
    RetryGiven,
    ToolWork,
)

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Cron = Annotated[
    str,
    msgspec.Meta(
        max_length=200,
        description="Five fields: minute, hour, day of month, month, day of week",
        examples=["0 3 * * mon-fri"],
    ),
]
Zone = Annotated[str, msgspec.Meta(max_length=100, description="IANA name of a time zone")]


class _ScheduleBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name
    cron: Cron
    timezone: Zone = "UTC"
    enabled: bool = True
    priority: Priority = 0
    max_attempts: MaxAttempts = 3
    deadline_s: Deadline | None = None
    retry: RetryGiven = RetryGiven()
    on_indeterminate: OnIndeterminate = OnIndeterminate.FAIL

    def words(self, payload: Payload) -> AddSchedule:
        work = ScheduledWork(
            payload=payload,
            priority=self.priority,
            max_attempts=self.max_attempts,
            deadline=None if self.deadline_s is None else timedelta(seconds=self.deadline_s),
            retry=self.retry.policy(),
            on_indeterminate=self.on_indeterminate,
        )
        return AddSchedule(
            name=self.name,
            cron=self.cron,
            timezone=self.timezone,
            work=work,
            enabled=self.enabled,
        )


class ToolScheduleBody(_ScheduleBody, frozen=True, kw_only=True, tag="tool", tag_field="task_type"):
    """A tool call to be done at each time; the deadline counts from there."""

    payload: ToolWork


class AgentScheduleBody(
    _ScheduleBody, frozen=True, kw_only=True, tag="agent", tag_field="task_type"
):
    """An agent's turn to be done at each time; the deadline counts from there."""

    payload: AgentWork


class ScheduleChangeBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be another; what is absent stays. A `payload` needs its `task_type` beside it."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    cron: Cron | msgspec.UnsetType = msgspec.UNSET
    timezone: Zone | msgspec.UnsetType = msgspec.UNSET
    enabled: bool | msgspec.UnsetType = msgspec.UNSET
    task_type: TaskType | msgspec.UnsetType = msgspec.UNSET
    payload: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    priority: Priority | msgspec.UnsetType = msgspec.UNSET
    max_attempts: MaxAttempts | msgspec.UnsetType = msgspec.UNSET
    deadline_s: Deadline | msgspec.UnsetType | None = msgspec.UNSET
    retry: RetryGiven | msgspec.UnsetType = msgspec.UNSET
    on_indeterminate: OnIndeterminate | msgspec.UnsetType = msgspec.UNSET

    def words(self) -> ScheduleChange:
        """The same in the domain's words. Raises BodyInvalid."""
        seconds = self.deadline_s
        return ScheduleChange(
            name=self.name,
            cron=self.cron,
            timezone=self.timezone,
            enabled=self.enabled,
            payload=self._payload(),
            priority=self.priority,
            max_attempts=self.max_attempts,
            deadline=timedelta(seconds=seconds) if isinstance(seconds, float) else seconds,
            retry=self.retry.policy() if isinstance(self.retry, RetryGiven) else self.retry,
            on_indeterminate=self.on_indeterminate,
        )

    def _payload(self) -> Payload | msgspec.UnsetType:
        if self.task_type is msgspec.UNSET and self.payload is msgspec.UNSET:
            return msgspec.UNSET
        if self.task_type is msgspec.UNSET or self.payload is msgspec.UNSET:
            raise BodyInvalid("task_type and payload are changed together.", path="/payload")
        kind = _ToolChange if self.task_type is TaskType.TOOL else _AgentChange
        body = msgspec.json.encode({"payload": self.payload})
        change: _ToolChange | _AgentChange = decoded(body, kind)
        return change.payload.payload()


class _ToolChange(msgspec.Struct, frozen=True, kw_only=True):
    payload: ToolWork


class _AgentChange(msgspec.Struct, frozen=True, kw_only=True):
    payload: AgentWork


class ScheduleAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule as it stands.

    It fires within about a second of `next_at`, which is null while it is paused. Of times that
    passed while nobody could fire it, the latest brings one task and the others none. `last_at` is
    the time for which it fired last; where that brought no task, `last_error` says why.
    """

    schedule_id: str
    name: str
    cron: str
    timezone: str
    enabled: bool
    task_type: TaskType
    payload: dict[str, Any]
    priority: int
    max_attempts: int
    deadline_s: float | None
    retry: RetryGiven
    on_indeterminate: OnIndeterminate
    owner: str
    created_at: datetime
    next_at: datetime | None
    last_at: datetime | None
    last_task_id: str | None
    last_error: str | None


class ScheduleList(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the schedules, newest first."""

    schedules: tuple[ScheduleAnswer, ...]
    total_count: int
    next_cursor: str | None


def _answer(schedule: Schedule) -> ScheduleAnswer:
    work = schedule.work
    payload: dict[str, Any] = msgspec.to_builtins(work.payload)
    inner = {"type", "interactive"}
    is_agents = isinstance(work.payload, AgentPayload)
    return ScheduleAnswer(
        schedule_id=schedule.schedule_id,
        name=schedule.name,
        cron=schedule.cron,
        timezone=schedule.timezone,
        enabled=schedule.enabled,
        task_type=TaskType.AGENT if is_agents else TaskType.TOOL,
        payload={name: value for name, value in payload.items() if name not in inner},
        priority=work.priority,
        max_attempts=work.max_attempts,
        deadline_s=None if work.deadline is None else work.deadline.total_seconds(),
        retry=RetryGiven.of(work.retry),
        on_indeterminate=work.on_indeterminate,
        owner=schedule.owner,
        created_at=schedule.created_at,
        next_at=schedule.next_at,
        last_at=schedule.last_at,
        last_task_id=schedule.last_task_id,
        last_error=schedule.last_error,
    )


@post("/", dependencies=ONCE)
async def add_schedule(
    schedules: Service[ScheduleService],
    scope: Scope,
    data: JSONBody[ToolScheduleBody | AgentScheduleBody],
    once: Key,
) -> ScheduleAnswer:
    """Keep work to be done at every time that a cron expression names."""
    add = data.words(data.payload.payload())
    return _answer(await schedules.create(caller_of(scope), add, once))


@get("/")
async def list_schedules(
    schedules: Service[ScheduleService], scope: Scope, limit: Limit = 50, cursor: Cursor = None
) -> ScheduleList:
    """Schedules, newest first."""
    page = await schedules.list(caller_of(scope), PageQuery(limit=limit, cursor=cursor))
    return ScheduleList(
        schedules=tuple(map(_answer, page.items)),
        total_count=page.total_count,
        next_cursor=page.next_cursor,
    )


@get("/{schedule_id:str}")
async def get_schedule(
    schedules: Service[ScheduleService], scope: Scope, schedule_id: Id
) -> ScheduleAnswer:
    """One schedule."""
    return _answer(await schedules.get(caller_of(scope), ScheduleId(schedule_id)))


@patch("/{schedule_id:str}")
async def change_schedule(
    schedules: Service[ScheduleService],
    scope: Scope,
    schedule_id: Id,
    data: JSONBody[ScheduleChangeBody],
) -> ScheduleAnswer:
    """Keep another version of a schedule; `enabled` false pauses it."""
    changed = await schedules.change(caller_of(scope), ScheduleId(schedule_id), data.words())
    return _answer(changed)


@delete("/{schedule_id:str}")
async def remove_schedule(
    schedules: Service[ScheduleService], scope: Scope, schedule_id: Id
) -> None:
    """Fire it no more; its tasks stay."""
    await schedules.remove(caller_of(scope), ScheduleId(schedule_id))


ROUTES = Router(
    "/schedules",
    route_handlers=[add_schedule, list_schedules, get_schedule, change_schedule, remove_schedule],
    tags=["schedules"],
)
