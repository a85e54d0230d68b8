# ruff: noqa: ARG002 - the signatures are the ports'
"""One life of a node: the real services over the simulated world."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from random import Random
from typing import Any, Protocol

from adapters.inmemory.system import SeededChance
from adapters.mcp.connector import StreamConnector
from domain.agents import Models
from domain.chat import ChatService
from domain.firing import Firing
from domain.model.callers import LOCAL
from domain.model.servers import (
    Command,
    Limits,
    Origin,
    Remote,
    ServerSpec,
    StartPolicy,
)
from domain.model.tasks import AgentPayload, ToolPayload, WorkerId
from domain.model_guard import GuardedModel
from domain.orchestration.fleet import Fleet
from domain.orchestration.life import Parts
from domain.orchestration.placement import PlacedLauncher
from domain.orchestration.roster import Roster
from domain.orchestration.supervision import RestartPolicy
from domain.ports.mcp import Changed, HandshakeFailed, McpSession, Opening
from domain.ports.schemas import ArgumentCheck, Fault
from domain.ports.storage import StorageUnavailable
from domain.schedules import ScheduleService
from domain.tasks.agent_run import AgentRun
from domain.tasks.carrier import Carrier, WorkerLimits
from domain.tasks.decisions import DecisionService
from domain.tasks.retention import Retention
from domain.tasks.runs import RunOf, ToolRun
from domain.tasks.service import TaskService
from domain.tasks.upkeep import Chore, Upkeep
from domain.tasks.worker import Worker
from tests.simulation.climate import Setting
from tests.simulation.journal import Journal
from tests.simulation.loop import Node, SimulatedLoop
from tests.simulation.models import SimulatedModel
from tests.simulation.schedules import Ticks
from tests.simulation.servers import CALLS_AT_ONCE, SERVERS, NodeLauncher, Outside, ToolServer
from tests.simulation.signals import Air, NodeSignals
from tests.simulation.store import Line, NodeTransactions, Rack
from tests.simulation.troubles import Troubles, TrueClock
from tests.simulation.watching import WatchedMcp, watched

POLICY = RestartPolicy(
    longest_delay=timedelta(seconds=4), quarantine_after=4, quarantine=timedelta(seconds=15)
)
# Shorter than usual, so that a run sees a quarantine and its end.
DRAIN = timedelta(seconds=2)
UPKEEP_EVERY = timedelta(seconds=2)

SPECS = tuple(
    ServerSpec(
        name=name,
        recipe=Command(command=name),
        start=start,
        owner=LOCAL.id,
        origin=Origin.FILE,
        limits=Limits(calls=CALLS_AT_ONCE),
        canary=timedelta(seconds=10),
        probe_timeout=timedelta(seconds=2),
        start_timeout=timedelta(seconds=6),
    )
    for name, start in zip(SERVERS, (StartPolicy.EAGER, StartPolicy.LAZY), strict=True)
)


class _AnyKey:
    """Arguments need a text `key`; what a real compiler makes of the schema."""

    unchecked = ""

    def first_fault(self, arguments: Mapping[str, Any]) -> Fault | None:
        if isinstance(arguments.get("key"), str):
            return None
        return Fault(path="/key", message="a text is needed")


class _Compiler:
    def compile(self, schema: Mapping[str, Any]) -> ArgumentCheck:
        return _AnyKey()


class _NoDialer:
    async def dial(self, recipe: Remote, opening: Opening, changed: Changed) -> McpSession:
        raise HandshakeFailed("nothing runs elsewhere")


class Surroundings(Protocol):
    """What a node needs of the world it is in."""

    loop: SimulatedLoop
    journal: Journal
    troubles: Troubles
    rack: Rack
    outside: Outside
    air: Air
    programs: dict[str, ToolServer]
    model: SimulatedModel
    setting: Setting
    ticks: Ticks


class Place(Protocol):
    """Where one life goes on after the other."""

    name: str
    world: Surroundings
    dice: Random
    wrong_by_s: float
    line: Line


class Life:
    """One life of a node: its services from its start to its crash or its drain."""

    def __init__(self, place: Place) -> None:
        world = place.world
        self.node = Node(place.name)
        self.clock = TrueClock(world.loop, place.wrong_by_s)
        self._world = world
        self._chance = SeededChance(place.dice.getrandbits(60))
        self._transactions = NodeTransactions(
            world.rack, place.line, self.node, world.journal, world.troubles
        )
        self.signals = NodeSignals(world.air, self.node)
        self.launcher = NodeLauncher(self.node, world.programs, world.outside)
        roster = Roster(self._transactions, self.signals, SPECS)
        self.fleet = Fleet(self._parts(), roster, _Compiler())
        self.mcp = WatchedMcp(self.fleet, self.clock, world.outside)
        self.model = GuardedModel(world.model, self.clock)
        models = Models(self.model, {})
        self.worker = self._worker(models)
        transactions, chance = self._transactions, self._chance
        self.tasks = TaskService(transactions, self.signals, chance, models)
        self.chats = ChatService(transactions, self.tasks, self.worker, chance)
        self.decisions = DecisionService(transactions, self.signals)
        self.schedules = ScheduleService(transactions, world.ticks, chance)
        self.upkeep = self._upkeep()
        self.ready = False

    def _parts(self) -> Parts:
        return Parts(
            launcher=self.launcher,
            containers=PlacedLauncher({}),
            connector=StreamConnector("simulation", "1"),
            dialer=_NoDialer(),
            clock=self.clock,
            chance=self._chance,
            policy=POLICY,
        )

    def _worker(self, models: Models) -> Worker:
        world, transactions = self._world, self._transactions
        runs: RunOf = {
            ToolPayload: watched(ToolRun(self.mcp, transactions), world.outside),
            AgentPayload: watched(AgentRun(self.mcp, models, transactions), world.outside),
        }
        limits = WorkerLimits(concurrency=world.setting.concurrency)
        carrier = Carrier(transactions, self.signals, runs, self._chance, limits)
        worker_id = WorkerId(self.node.name)
        return Worker(
            worker_id, transactions, self.signals, carrier, limits, lambda: world.setting.caps
        )

    def _upkeep(self) -> Upkeep:
        retention = Retention(self._transactions, self.signals, timedelta(days=1))
        firing = Firing(self._transactions, self.signals, self.tasks, self._world.ticks)
        chores = (
            Chore(name="overdue", act=retention.end_overdue, every=UPKEEP_EVERY),
            Chore(name="schedules", act=firing.fire_due, every=UPKEEP_EVERY),
        )
        return Upkeep(chores, self._chance)

    async def start(self) -> None:
        """Until the store answers it is tried again, as the system's start does."""
        for begin in (self.fleet.start, self.worker.start):
            while True:
                try:
                    await begin()
                    break
                except StorageUnavailable:
                    await asyncio.sleep(0.25)
        self.upkeep.start()
        self.ready = True

    async def stop(self) -> None:
        """As on SIGTERM."""
        self.ready = False
        await self.upkeep.stop()
        await self.worker.stop(DRAIN)
        await self.fleet.stop()

    @property
    def up(self) -> bool:
        """Whether it takes requests and works."""
        return self.ready and not self.node.dead and not self.node.frozen
