"""Schedules in the hands of their owners."""

from datetime import timedelta

import pytest

from domain.model.agents import AgentNotFound
from domain.model.callers import LOCAL, ScopeMissing
from domain.model.keys import IdempotencyKey, Once
from domain.model.pages import PageQuery
from domain.model.retries import DEFAULT_RETRY
from domain.model.schedules import (
    CronInvalid,
    ScheduleChanged,
    ScheduledWork,
    ScheduleNotFound,
)
from domain.schedules import (
    CHANGE_TRIES,
    AddSchedule,
    ScheduleChange,
    ScheduleInvalid,
)
from domain.tasks.service import TaskInvalid
from tests.domain.office import OWNER, READER, STRANGER, TOOL, Office, at, turn

pytestmark = pytest.mark.anyio


@pytest.fixture
def office() -> Office:
    return Office()


async def test_a_paused_schedule_does_not_fire_nor_catch_up(office: Office) -> None:
    schedule = await office.add()
    paused = await office.schedules.change(
        OWNER, schedule.schedule_id, ScheduleChange(enabled=False)
    )
    assert (paused.enabled, paused.next_at) == (False, None)
    assert await office.pass_to(1, 1, 12, 35) == 0
    resumed = await office.schedules.change(
        OWNER, schedule.schedule_id, ScheduleChange(enabled=True)
    )
    assert resumed.next_at == at(1, 1, 12, 40)
    assert await office.firing.fire_due() == 0


async def test_a_change_keeps_what_it_does_not_name(office: Office) -> None:
    schedule = await office.add()
    change = ScheduleChange(name="Other", priority=9, deadline=timedelta(minutes=1))
    changed = await office.schedules.change(OWNER, schedule.schedule_id, change)
    assert (changed.name, changed.work.priority) == ("Other", 9)
    assert changed.work.deadline == timedelta(minutes=1)
    assert (changed.work.retry, changed.work.on_indeterminate) == (DEFAULT_RETRY, "fail")
    assert (changed.cron, changed.next_at) == (schedule.cron, schedule.next_at)
    assert (changed.work.payload, changed.work.max_attempts) == (TOOL, 2)

    hourly = ScheduleChange(cron="0 * * * *", timezone="Asia/Kolkata", payload=turn())
    with pytest.raises(AgentNotFound):
        await office.schedules.change(OWNER, schedule.schedule_id, hourly)
    await office.conversation()
    changed = await office.schedules.change(OWNER, schedule.schedule_id, hourly)
    assert (changed.next_at, changed.work.payload) == (at(1, 1, 12, 30), turn())


async def test_a_change_that_others_overtake_is_made_after_them(office: Office) -> None:
    schedule = await office.add()
    office.store.overtaken = CHANGE_TRIES - 1
    change = ScheduleChange(name="Other")
    changed = await office.schedules.change(OWNER, schedule.schedule_id, change)
    assert changed == await office.get(schedule)
    assert changed.name == "Other"

    office.store.overtaken = CHANGE_TRIES
    with pytest.raises(ScheduleChanged):
        await office.schedules.change(OWNER, schedule.schedule_id, ScheduleChange(name="Late"))
    assert (await office.get(schedule)).name == "Other"


async def test_schedules_are_their_owners_business(office: Office) -> None:
    schedule = await office.add()
    with pytest.raises(ScopeMissing):
        await office.add(caller=READER)
    with pytest.raises(ScheduleNotFound):
        await office.schedules.get(STRANGER, schedule.schedule_id)
    with pytest.raises(ScheduleNotFound):
        await office.schedules.change(STRANGER, schedule.schedule_id, ScheduleChange(name="X"))
    with pytest.raises(ScheduleNotFound):
        await office.schedules.remove(STRANGER, schedule.schedule_id)
    assert (await office.schedules.list(STRANGER, PageQuery())).items == ()
    assert (await office.schedules.list(LOCAL, PageQuery())).items == (schedule,)
    await office.schedules.remove(OWNER, schedule.schedule_id)
    assert (await office.schedules.list(OWNER, PageQuery())).total_count == 0


async def test_what_cannot_be_kept_is_refused(office: Office) -> None:
    for cron, zone in (("* * *", "UTC"), ("* * * * *", "Nowhere")):
        with pytest.raises(CronInvalid):
            await office.add(cron, timezone=zone)
    with pytest.raises(CronInvalid):
        await office.add("61 * * * *", enabled=False)
    with pytest.raises(ScheduleInvalid):
        await office.add(name=" ")
    with pytest.raises(TaskInvalid):
        await office.add(work=ScheduledWork(payload=TOOL, max_attempts=0))
    assert (await office.schedules.list(LOCAL, PageQuery())).total_count == 0


async def test_under_a_key_a_schedule_is_kept_once(office: Office) -> None:
    add = AddSchedule(name="Once", cron="0 3 * * *", work=ScheduledWork(payload=TOOL))
    once = Once(key=IdempotencyKey("k"), fingerprint="f")
    first = await office.schedules.create(OWNER, add, once)
    office.clock.advance(timedelta(days=3))
    assert await office.schedules.create(OWNER, add, once) == first
    assert (await office.schedules.list(OWNER, PageQuery())).total_count == 1
