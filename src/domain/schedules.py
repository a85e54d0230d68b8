"""Schedules as their owners keep them; `domain.firing` fires them."""

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import msgspec

from domain.errors import Invalid
from domain.firing import submit_of
from domain.model.callers import Caller, Scope
from domain.model.conversations import ConversationNotFound
from domain.model.keys import Once
from domain.model.pages import Page, PageQuery
from domain.model.retries import RetryPolicy
from domain.model.schedules import (
    NewSchedule,
    Schedule,
    ScheduleChanged,
    ScheduledWork,
    ScheduleNotFound,
)
from domain.model.tasks import (
    AgentPayload,
    OnIndeterminate,
    Payload,
    ScheduleId,
)
from domain.once import acted_once
from domain.ports.schedules import Calendar
from domain.ports.storage import Transaction, Transactions
from domain.ports.system import Chance
from domain.tasks.service import check_bounds

CHANGE_TRIES = 5
# A change meets a fire of the same schedule at most once a minute.


class AddSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule to be. `cron` and `timezone` are as the Calendar port says."""

    name: str
    cron: str
    timezone: str = "UTC"
    work: ScheduledWork
    enabled: bool = True


class ScheduleChange(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be another; UNSET stays as it is."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    cron: str | msgspec.UnsetType = msgspec.UNSET
    timezone: str | msgspec.UnsetType = msgspec.UNSET
    enabled: bool | msgspec.UnsetType = msgspec.UNSET
    payload: Payload | msgspec.UnsetType = msgspec.UNSET
    priority: int | msgspec.UnsetType = msgspec.UNSET
    max_attempts: int | msgspec.UnsetType = msgspec.UNSET
    deadline: timedelta | msgspec.UnsetType | None = msgspec.UNSET
    retry: RetryPolicy | msgspec.UnsetType = msgspec.UNSET
    on_indeterminate: OnIndeterminate | msgspec.UnsetType = msgspec.UNSET


class ScheduleInvalid(Invalid):
    """The schedule holds a value that cannot be."""


class ScheduleService:
    """Schedules as callers see them."""

    def __init__(self, transactions: Transactions, calendar: Calendar, chance: Chance) -> None:
        self._transactions = transactions
        self._calendar = calendar
        self._chance = chance

    async def create(self, caller: Caller, add: AddSchedule, once: Once | None = None) -> Schedule:
        """Keep a schedule; its first time comes after now.

        Raises ScheduleInvalid, CronInvalid, TaskInvalid, AgentNotFound, ConversationNotFound,
        KeyReused, KeyInFlight.
        """
        caller.require(Scope.TASKS)
        _check(add.name, add.work)
        new = NewSchedule(
            schedule_id=ScheduleId(self._chance.new_id()),
            name=add.name,
            cron=add.cron,
            timezone=add.timezone,
            work=add.work,
            owner=caller.id,
            enabled=add.enabled,
        )
        async with self._transactions.begin() as transaction:

            async def keep() -> Schedule:
                await _require_known(transaction, caller, add.work.payload)
                now = await transaction.schedules.now()
                next_at = self._next(new, now)
                return await transaction.schedules.add(
                    msgspec.structs.replace(new, next_at=next_at if add.enabled else None)
                )

            schedule, _ = await acted_once(transaction, caller.id, once, Schedule, keep)
        return schedule

    async def get(self, caller: Caller, schedule_id: ScheduleId) -> Schedule:
        """Raises ScheduleNotFound."""
        caller.require(Scope.READ)
        async with self._transactions.read() as transaction:
            return await _visible(transaction, caller, schedule_id)

    async def list(self, caller: Caller, query: PageQuery) -> Page[Schedule]:
        """Newest first; those of others only for ADMIN."""
        caller.require(Scope.READ)
        owner = None if Scope.ADMIN in caller.scopes else caller.id
        async with self._transactions.read() as transaction:
            return await transaction.schedules.list(owner, query)

    async def change(
        self, caller: Caller, schedule_id: ScheduleId, change: ScheduleChange
    ) -> Schedule:
        """Keep another version of it; times that passed while it was paused are not made up for.

        Raises ScheduleNotFound, ScheduleChanged, and as `create`.
        """
        caller.require(Scope.TASKS)
        for _ in range(CHANGE_TRIES - 1):
            with suppress(ScheduleChanged):
                return await self._change(caller, schedule_id, change)
        return await self._change(caller, schedule_id, change)

    async def _change(
        self, caller: Caller, schedule_id: ScheduleId, change: ScheduleChange
    ) -> Schedule:
        async with self._transactions.begin() as transaction:
            before = await _visible(transaction, caller, schedule_id)
            given = _given(change)
            own = {name: given.pop(name) for name in _OF_SCHEDULE if name in given}
            work = msgspec.structs.replace(before.work, **given)
            after = msgspec.structs.replace(before, **own, work=work)
            _check(after.name, work)
            if change.payload is not msgspec.UNSET:
                await _require_known(transaction, caller, work.payload)
            if own.keys() & _TIMES:
                next_at = self._next(after, await transaction.schedules.now())
                after = msgspec.structs.replace(after, next_at=next_at if after.enabled else None)
            return await transaction.schedules.replace(after)

    async def remove(self, caller: Caller, schedule_id: ScheduleId) -> None:
        """Fire it no more; its tasks stay. Raises ScheduleNotFound."""
        caller.require(Scope.TASKS)
        async with self._transactions.begin() as transaction:
            await _visible(transaction, caller, schedule_id)
            await transaction.schedules.remove(schedule_id)

    def _next(self, schedule: NewSchedule, after: datetime) -> datetime:
        return self._calendar.next_after(schedule.cron, schedule.timezone, after)


_TIMES = frozenset({"cron", "timezone", "enabled"})
_OF_SCHEDULE = ("name", "cron", "timezone", "enabled")


def _given(change: ScheduleChange) -> dict[str, Any]:
    fields = msgspec.structs.asdict(change).items()
    return {name: value for name, value in fields if value is not msgspec.UNSET}


def _check(name: str, work: ScheduledWork) -> None:
    if not name.strip():
        raise ScheduleInvalid("A schedule needs a name.", path="/name")
    check_bounds(submit_of(work))


async def _require_known(transaction: Transaction, caller: Caller, payload: Payload) -> None:
    """What is missing now is told to whoever can mend it; later only `last_error` can."""
    if not isinstance(payload, AgentPayload):
        return
    await transaction.agents.get(payload.agent)
    if payload.conversation_id is None:
        return
    conversation = await transaction.conversations.get(payload.conversation_id)
    if not caller.sees(conversation.owner):
        raise ConversationNotFound(
            f"There is no conversation {payload.conversation_id!r}.",
            conversation_id=payload.conversation_id,
        )


async def _visible(transaction: Transaction, caller: Caller, schedule_id: ScheduleId) -> Schedule:
    schedule = await transaction.schedules.get(schedule_id)
    if not caller.sees(schedule.owner):
        raise ScheduleNotFound(f"There is no schedule {schedule_id!r}.", schedule_id=schedule_id)
    return schedule
