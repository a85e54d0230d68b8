"""Schedules fire once, however many processes look after them, on every store."""

import asyncio

import pytest

from adapters.cron import CronCalendar
from adapters.inmemory.model import ScriptedLanguageModel
from adapters.inmemory.signals import MemorySignals
from adapters.inmemory.system import SeededChance
from domain.agents import Models
from domain.firing import Firing
from domain.model.schedules import Schedule
from domain.model.tasks import ScheduleId
from domain.ports.tasks import TaskQuery
from domain.tasks.service import TaskService
from tests.contracts.storage import Store
from tests.contracts.test_schedule_store import LONG_AGO, new_schedule

pytestmark = pytest.mark.anyio

YEARLY = "0 0 1 1 *"
# No new time comes in the middle of a test.


def scheduler(store: Store, seed: int) -> Firing:
    chance, signals = SeededChance(seed), MemorySignals()
    tasks = TaskService(store.transactions, signals, chance, Models(ScriptedLanguageModel(()), {}))
    return Firing(store.transactions, signals, tasks, CronCalendar())


async def test_of_ten_processes_that_fire_at_once_each_time_brings_one_task(store: Store) -> None:
    async with store.transactions.begin() as transaction:
        for number in range(5):
            await transaction.schedules.add(
                new_schedule(f"s{number}", cron=YEARLY, timezone="UTC", next_at=LONG_AGO)
            )
        await transaction.schedules.add(new_schedule("paused", next_at=None))

    brought = await asyncio.gather(*(scheduler(store, seed).fire_due() for seed in range(10)))

    assert sum(brought) == 5
    async with store.transactions.read() as transaction:
        tasks = (await transaction.tasks.list(TaskQuery())).items
        now = await transaction.schedules.now()
        fired: list[Schedule] = [
            await transaction.schedules.get(ScheduleId(f"s{number}")) for number in range(5)
        ]
        assert await transaction.schedules.due(10) == ()
    assert sorted(str(task.schedule_id) for task in tasks) == [f"s{number}" for number in range(5)]
    for schedule in fired:
        (task,) = (task for task in tasks if task.schedule_id == schedule.schedule_id)
        assert schedule.last_task_id == task.task_id
        assert schedule.last_at == task.scheduled_for == LONG_AGO.replace(year=now.year)
        assert schedule.next_at == LONG_AGO.replace(year=now.year + 1)
        assert (schedule.last_error, schedule.version) == (None, 2)
    assert await scheduler(store, 11).fire_due() == 0
