"""Work becomes a task at each of its schedule's times."""

from datetime import datetime, timedelta

import msgspec
import pytest

from domain.model.agents import AgentId
from domain.model.callers import LOCAL
from domain.model.conversations import ConversationNotFound
from domain.model.retries import RetryPolicy
from domain.model.tasks import OnIndeterminate, TaskId
from domain.ports.storage import StorageUnavailable
from domain.ports.tasks import TaskQuery
from domain.schedules import (
    ScheduleChange,
)
from domain.tasks import topics
from tests.domain.office import OWNER, STRANGER, TOOL, Office, at, turn

pytestmark = pytest.mark.anyio


@pytest.fixture
def office() -> Office:
    return Office()


async def test_a_schedule_fires_at_its_times_and_not_before(office: Office) -> None:
    schedule = await office.add()
    assert schedule.next_at == at(1, 1, 12, 10)
    assert await office.pass_to(1, 1, 12, 9, 59) == 0
    assert await office.pass_to(1, 1, 12, 10) == 1
    assert await office.pass_to(1, 1, 12, 10, 1) == 0
    assert await office.pass_to(1, 1, 12, 20, 7) == 1

    tasks = await office.tasks()
    schedule = await office.get(schedule)
    assert [task.scheduled_for for task in tasks] == [at(1, 1, 12, 10), at(1, 1, 12, 20)]
    assert {task.schedule_id for task in tasks} == {schedule.schedule_id}
    assert (schedule.last_at, schedule.next_at) == (at(1, 1, 12, 20), at(1, 1, 12, 30))
    assert (schedule.last_task_id, schedule.last_error) == (tasks[-1].task_id, None)


async def test_a_fires_task_is_the_owners_and_as_the_schedule_says(office: Office) -> None:
    await office.add()
    async with office.signals.subscribe(topics.WAKE) as wake:
        await office.pass_to(1, 1, 12, 10)
        assert await wake.next(0.1) is not None
    (task,) = await office.tasks()
    assert (task.owner, task.payload, task.priority, task.max_attempts) == (OWNER.id, TOOL, 4, 2)


@pytest.mark.parametrize(
    ("cron", "back", "latest", "following"),
    [
        ("*/10 * * * *", (1, 1, 12, 29), at(1, 1, 12, 20), at(1, 1, 12, 30)),
        ("*/10 * * * *", (3, 1, 7, 5), at(3, 1, 7, 0), at(3, 1, 7, 10)),
        ("0 * 2 1 *", (12, 24, 0, 0), at(1, 2, 23, 0), at(1, 2, 0, 0).replace(year=2027)),
        ("30 2 * * *", (1, 5, 2, 30), at(1, 5, 2, 30), at(1, 6, 2, 30)),
    ],
)
async def test_of_the_times_that_were_missed_only_the_latest_brings_a_task(
    office: Office, cron: str, back: tuple[int, ...], latest: datetime, following: datetime
) -> None:
    schedule = await office.add(cron)
    assert await office.pass_to(*back) == 1

    (task,) = await office.tasks()
    schedule = await office.get(schedule)
    assert task.scheduled_for == schedule.last_at == latest
    assert schedule.next_at == following


async def test_the_latest_time_is_found_also_where_a_zone_moves_its_clocks(office: Office) -> None:
    await office.add("30 2 * * *", timezone="Europe/Berlin")
    for back, latest in (
        ((3, 29, 0, 59), at(3, 28, 1, 30)),
        ((3, 29, 1, 0), at(3, 29, 1, 0)),
        ((10, 25, 1, 45), at(10, 25, 0, 30)),
        ((10, 26, 1, 29), None),
    ):
        await office.pass_to(*back)
        assert latest is None or (await office.tasks())[-1].scheduled_for == latest
    assert len(await office.tasks()) == 3


async def test_an_agents_message_joins_its_conversation_at_each_time(office: Office) -> None:
    talk = await office.conversation()
    await office.add(payload=turn(talk))
    await office.pass_to(1, 1, 12, 10)
    async with office.store.read() as transaction:
        (message,) = await transaction.conversations.messages(talk)
    (task,) = await office.tasks()
    assert (message.message.text, message.task_id) == ("Go", task.task_id)


async def test_a_busy_conversation_is_told_and_the_next_time_comes(office: Office) -> None:
    talk = await office.conversation()
    schedule = await office.add(payload=turn(talk))
    await office.pass_to(1, 1, 12, 10)
    (first,) = await office.tasks()

    assert await office.pass_to(1, 1, 12, 20) == 0
    told = await office.get(schedule)
    assert told.last_error is not None
    assert "still under way" in told.last_error
    assert (told.last_at, told.last_task_id) == (at(1, 1, 12, 20), first.task_id)

    async with office.store.begin() as transaction:
        await transaction.tasks.request_cancel(TaskId(first.task_id))
    assert await office.pass_to(1, 1, 12, 30) == 1
    assert (await office.get(schedule)).last_error is None


async def test_an_agent_or_a_conversation_that_is_gone_is_told(office: Office) -> None:
    talk = await office.conversation()
    of_agent = await office.add(payload=turn())
    of_talk = await office.add(payload=turn(talk))
    async with office.store.begin() as transaction:
        await transaction.conversations.remove(talk)
    await office.pass_to(1, 1, 12, 10)
    assert (await office.get(of_agent)).last_error is None
    assert "no conversation" in str((await office.get(of_talk)).last_error)

    async with office.store.begin() as transaction:
        await transaction.agents.remove(AgentId("helper"))
    await office.pass_to(1, 1, 12, 20)
    told = await office.get(of_agent)
    assert "no agent 'helper'" in str(told.last_error)
    assert told.next_at == at(1, 1, 12, 30)
    assert len(await office.tasks()) == 1


async def test_a_fire_acts_with_no_more_rights_than_its_owner(office: Office) -> None:
    talk = await office.conversation(STRANGER.id)
    with pytest.raises(ConversationNotFound):
        await office.add(payload=turn(talk))
    of_admin = await office.add(payload=turn(talk), caller=LOCAL)
    await office.pass_to(1, 1, 12, 10)
    assert "no conversation" in str((await office.get(of_admin)).last_error)
    assert await office.tasks() == []


async def test_one_schedule_that_fails_holds_up_no_other(office: Office) -> None:
    talk = await office.conversation()
    failing = await office.add("5 * * * *", payload=turn(talk))
    await office.add()
    async with office.store.begin() as transaction:
        await transaction.conversations.remove(talk)
    assert await office.pass_to(1, 1, 13, 10) == 1
    assert (await office.get(failing)).last_error is not None


async def test_a_time_that_was_fired_before_brings_no_second_task(office: Office) -> None:
    """The store's clock was put back, and the time comes again."""
    schedule = await office.add()
    await office.pass_to(1, 1, 12, 10)
    async with office.store.begin() as transaction:
        again = msgspec.structs.replace(await office.get(schedule), next_at=at(1, 1, 12, 10))
        await transaction.schedules.replace(again)
    assert await office.firing.fire_due() == 0
    assert len(await office.tasks()) == 1
    schedule = await office.get(schedule)
    assert (schedule.next_at, schedule.last_error) == (at(1, 1, 12, 20), None)


async def test_a_store_that_fails_loses_no_fire(office: Office) -> None:
    await office.add()
    office.store.broken = True
    with pytest.raises(StorageUnavailable):
        await office.pass_to(1, 1, 12, 10)
    office.store.broken = False
    assert await office.pass_to(1, 1, 12, 10, 5) == 1
    assert [task.scheduled_for for task in await office.tasks()] == [at(1, 1, 12, 10)]


async def test_a_zone_that_this_machine_no_longer_knows_pauses_the_schedule(
    office: Office,
) -> None:
    schedule = await office.add()
    async with office.store.begin() as transaction:
        lost = msgspec.structs.replace(schedule, timezone="Mars/Base")
        await transaction.schedules.replace(lost)
    assert await office.pass_to(1, 1, 12, 10) == 0
    told = await office.get(schedule)
    assert (told.enabled, told.next_at) == (False, None)
    assert "Mars/Base" in str(told.last_error)


async def test_a_task_is_retried_and_asked_about_as_its_schedule_says(office: Office) -> None:
    slow = RetryPolicy(first_delay=timedelta(minutes=5), factor=1)
    ask = OnIndeterminate.ASK
    schedule = await office.add()
    change = ScheduleChange(retry=slow, on_indeterminate=ask)
    await office.schedules.change(OWNER, schedule.schedule_id, change)
    assert schedule.next_at is not None
    office.clock.advance(schedule.next_at - office.clock.now())
    assert await office.firing.fire_due() == 1
    async with office.store.read() as transaction:
        (task,) = (await transaction.tasks.list(TaskQuery())).items
    assert (task.retry, task.on_indeterminate) == (slow, ask)


async def test_a_fire_that_meets_a_change_leaves_it_and_comes_later(office: Office) -> None:
    schedule = await office.add()

    async def change() -> None:
        office.store.first.clear()
        named = ScheduleChange(name="Other", cron="*/15 * * * *")
        await office.schedules.change(OWNER, schedule.schedule_id, named)

    office.store.first.append(change)
    assert await office.pass_to(1, 1, 12, 10) == 0
    assert await office.tasks() == []
    changed = await office.get(schedule)
    assert (changed.name, changed.next_at) == ("Other", at(1, 1, 12, 15))
    assert await office.pass_to(1, 1, 12, 15) == 1
