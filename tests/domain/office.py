"""A schedule service and its firing over a clock that a test moves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec

from adapters.cron import CronCalendar
from adapters.inmemory.model import ScriptedLanguageModel
from adapters.inmemory.schedules import MemorySchedules
from adapters.inmemory.signals import MemorySignals
from adapters.inmemory.system import ManualClock, SeededChance
from adapters.inmemory.transactions import MemoryTransaction, MemoryTransactions
from domain.agents import Models
from domain.firing import Firing
from domain.model.agents import Agent, AgentId
from domain.model.callers import LOCAL, Caller, CallerId, Scope
from domain.model.conversations import ConversationId
from domain.model.schedules import (
    Schedule,
    ScheduleChanged,
    ScheduledWork,
)
from domain.model.tasks import AgentPayload, Payload, Task, ToolPayload
from domain.ports.storage import StorageUnavailable
from domain.ports.tasks import TaskQuery
from domain.schedules import (
    AddSchedule,
    ScheduleService,
)
from domain.tasks.service import TaskService

START = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)
TOOL = ToolPayload(server="clock", tool="now")
OWNER = Caller(id=CallerId("owner"), scopes=frozenset({Scope.READ, Scope.TASKS}))
STRANGER = Caller(id=CallerId("stranger"), scopes=OWNER.scopes)
READER = Caller(id=CallerId("reader"), scopes=frozenset({Scope.READ}))


class Overtaken(MemorySchedules):
    """Schedules that somebody else always changes first."""

    def __init__(self, kept: MemorySchedules) -> None:
        vars(self).update(vars(kept))

    async def replace(self, schedule: Schedule) -> Schedule:
        raise ScheduleChanged("Too late.", schedule_id=schedule.schedule_id)


class Busy(MemoryTransactions):
    """A store that fails, or where others are quicker, at its next transactions."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.broken = False
        self.first: list[Any] = []
        self.overtaken = 0

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[MemoryTransaction]:
        if self.broken:
            raise StorageUnavailable("The database does not answer.")
        if self.first:
            await self.first.pop()()
        async with super().begin() as transaction:
            if self.overtaken:
                self.overtaken -= 1
                transaction.schedules = Overtaken(transaction.schedules)
            yield transaction


class Office:
    """A schedule service over a clock that a test moves."""

    def __init__(self) -> None:
        self.clock = ManualClock(START)
        self.store = Busy(self.clock)
        self.signals = MemorySignals()
        chance = SeededChance(1)
        tasks = TaskService(self.store, self.signals, chance, Models(ScriptedLanguageModel(()), {}))
        self.schedules = ScheduleService(self.store, CronCalendar(), chance)
        self.firing = Firing(self.store, self.signals, tasks, CronCalendar())

    async def add(self, cron: str = "*/10 * * * *", **changes: Any) -> Schedule:
        work = ScheduledWork(payload=changes.pop("payload", TOOL), priority=4, max_attempts=2)
        add = AddSchedule(name="Every ten minutes", cron=cron, work=work)
        caller = changes.pop("caller", OWNER)
        return await self.schedules.create(caller, msgspec.structs.replace(add, **changes))

    async def get(self, schedule: Schedule) -> Schedule:
        return await self.schedules.get(LOCAL, schedule.schedule_id)

    async def pass_to(self, *when: int) -> int:
        """Move the clock and fire what is due then."""
        self.clock.advance(datetime(2026, *when, tzinfo=UTC) - self.clock.now())  # type: ignore[arg-type, misc]
        return await self.firing.fire_due()

    async def tasks(self) -> list[Task]:
        """All of them, oldest first."""
        async with self.store.read() as transaction:
            return list((await transaction.tasks.list(TaskQuery())).items)[::-1]

    async def conversation(self, owner: CallerId = OWNER.id) -> ConversationId:
        agent = Agent(
            agent_id=AgentId("helper"),
            name="Helper",
            instructions="",
            owner=owner,
            created_at=START,
            updated_at=START,
        )
        async with self.store.begin() as transaction:
            if not await transaction.agents.list():
                await transaction.agents.add(agent)
            new_id = ConversationId(f"talk of {owner}")
            await transaction.conversations.add(new_id, agent.agent_id, owner)
        return new_id


def turn(conversation_id: ConversationId | None = None, agent: str = "helper") -> Payload:
    return AgentPayload(agent=AgentId(agent), message="Go", conversation_id=conversation_id)


def at(*when: int) -> datetime:
    return datetime(2026, *when, tzinfo=UTC)  # type: ignore[arg-type, misc]
