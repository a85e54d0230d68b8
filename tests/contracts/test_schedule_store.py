"""What a store of schedules promises."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from domain.model.callers import CallerId
from domain.model.pages import PageQuery
from domain.model.schedules import (
    NewSchedule,
    Schedule,
    ScheduleChanged,
    ScheduledWork,
    ScheduleNotFound,
)
from domain.model.tasks import Fire, FiredAlready, ScheduleId, TaskId, ToolPayload
from tests.contracts.storage import LEASE, ME, Store, tool_task

pytestmark = pytest.mark.anyio

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
FAR_AHEAD = datetime(2100, 1, 1, tzinfo=UTC)
FIRE = Fire(schedule_id=ScheduleId("s1"), scheduled_for=LONG_AGO)


def new_schedule(schedule_id: str, **changes: Any) -> NewSchedule:
    payload = ToolPayload(server="clock", tool="now", arguments={"zone": ["UTC", 1, None]})
    work = ScheduledWork(payload=payload, priority=3, deadline=timedelta(minutes=1))
    new = NewSchedule(
        schedule_id=ScheduleId(schedule_id),
        name="Every night",
        cron="0 3 * * *",
        timezone="Europe/Berlin",
        work=work,
        owner=ME,
        next_at=LONG_AGO,
    )
    return msgspec.structs.replace(new, **changes)


async def _add(store: Store, schedule_id: str = "s1", **changes: Any) -> Schedule:
    async with store.transactions.begin() as transaction:
        return await transaction.schedules.add(new_schedule(schedule_id, **changes))


async def _replace(store: Store, schedule: Schedule, **changes: Any) -> Schedule:
    async with store.transactions.begin() as transaction:
        return await transaction.schedules.replace(msgspec.structs.replace(schedule, **changes))


async def test_an_added_schedule_comes_back_as_it_was_given(store: Store) -> None:
    added = await _add(store)
    async with store.transactions.read() as transaction:
        assert await transaction.schedules.get(added.schedule_id) == added
    given = msgspec.structs.asdict(new_schedule("s1"))
    assert {name: getattr(added, name) for name in given} == given
    assert (added.last_at, added.last_task_id, added.last_error) == (None, None, None)


async def test_an_unknown_schedule_is_not_found_by_any_method(store: Store) -> None:
    schedule = Schedule(**msgspec.structs.asdict(new_schedule("s1")), created_at=LONG_AGO)
    async with store.transactions.begin() as transaction:
        with pytest.raises(ScheduleNotFound):
            await transaction.schedules.get(schedule.schedule_id)
        with pytest.raises(ScheduleNotFound):
            await transaction.schedules.remove(schedule.schedule_id)
        with pytest.raises(ScheduleChanged):
            await transaction.schedules.replace(schedule)


async def test_a_stale_replace_is_refused(store: Store) -> None:
    read = await _add(store)
    changed = await _replace(store, read, name="Other", next_at=None, owner=CallerId("you"))
    assert (changed.name, changed.next_at, changed.version) == ("Other", None, 2)
    assert (changed.owner, changed.created_at) == (read.owner, read.created_at)
    with pytest.raises(ScheduleChanged) as caught:
        await _replace(store, read, name="Lost")
    assert caught.value.details == {"schedule_id": "s1"}
    async with store.transactions.read() as transaction:
        assert await transaction.schedules.get(read.schedule_id) == changed


async def test_of_twenty_who_replace_at_once_one_wins(store: Store) -> None:
    read = await _add(store)
    outcomes = await asyncio.gather(
        *(_replace(store, read, name=str(number)) for number in range(20)), return_exceptions=True
    )
    won = [outcome for outcome in outcomes if isinstance(outcome, Schedule)]
    lost = [outcome for outcome in outcomes if isinstance(outcome, ScheduleChanged)]
    assert (len(won), len(lost)) == (1, 19)


async def test_what_is_due_is_given_by_the_stores_clock_longest_due_first(store: Store) -> None:
    async with store.transactions.read() as transaction:
        now = await transaction.schedules.now()
    await _add(store, "later", next_at=LONG_AGO + timedelta(days=1))
    await _add(store, "first", next_at=LONG_AGO)
    await _add(store, "soon", next_at=now + LEASE)
    await _add(store, "paused", next_at=None, enabled=False)
    await _add(store, "far", next_at=FAR_AHEAD)
    await store.advance(LEASE)
    async with store.transactions.read() as transaction:
        due = await transaction.schedules.due(10)
        assert [schedule.schedule_id for schedule in due] == ["first", "later", "soon"]
        assert await transaction.schedules.due(1) == due[:1]
        assert await transaction.schedules.now() >= now + LEASE


async def test_schedules_are_listed_newest_first_and_by_owner(store: Store) -> None:
    for number in range(1, 4):
        await _add(store, f"s{number}")
    await _add(store, "yours", owner=CallerId("you"))
    async with store.transactions.read() as transaction:
        mine = await transaction.schedules.list(ME, PageQuery(limit=2))
        rest = await transaction.schedules.list(ME, PageQuery(limit=2, cursor=mine.next_cursor))
        every = await transaction.schedules.list(None, PageQuery())
    assert [schedule.schedule_id for schedule in mine.items] == ["s3", "s2"]
    assert [schedule.schedule_id for schedule in rest.items] == ["s1"]
    assert (mine.total_count, every.total_count) == (3, 4)


async def test_a_removed_schedule_is_gone(store: Store) -> None:
    schedule = await _add(store)
    async with store.transactions.begin() as transaction:
        await transaction.schedules.remove(schedule.schedule_id)
        assert await transaction.schedules.due(10) == ()


async def test_a_fire_brings_one_task(store: Store) -> None:
    (task,) = await store.submit(tool_task("t1", fire=FIRE))
    assert (task.schedule_id, task.scheduled_for) == ("s1", LONG_AGO)
    assert replace(task, queue_position=None) == await store.get("t1")
    async with store.transactions.begin() as transaction:
        with pytest.raises(FiredAlready):
            await transaction.tasks.add(tool_task("t2", fire=FIRE))
        await transaction.tasks.add(tool_task("t3"))
    other = Fire(schedule_id=ScheduleId("s2"), scheduled_for=LONG_AGO)
    later = Fire(schedule_id=ScheduleId("s1"), scheduled_for=LONG_AGO + timedelta(seconds=1))
    await store.submit(tool_task("t4", fire=other), tool_task("t5", fire=later), tool_task("t6"))


async def test_of_twenty_schedulers_one_submits_the_task_of_a_fire(store: Store) -> None:
    async def fire(number: int) -> str:
        try:
            (task,) = await store.submit(tool_task(f"t{number}", fire=FIRE))
        except FiredAlready:
            return ""
        return task.task_id

    submitted = await asyncio.gather(*(fire(number) for number in range(20)))
    assert len([task_id for task_id in submitted if task_id]) == 1
    assert (await store.get(TaskId(max(submitted)))).scheduled_for == LONG_AGO
