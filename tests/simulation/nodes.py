# ruff: noqa: ARG002 - the signatures are the ports'
"""One node: the real services over the simulated world, started, crashed, frozen, drained."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextvars import Context
from datetime import timedelta
from random import Random
from typing import Any, Protocol

from adapters.inmemory.system import SeededChance
from adapters.mcp.connector import StreamConnector
from domain.agents import Models
from domain.chat import ChatService
from domain.errors import Failure
from domain.model.callers import LOCAL, Caller
from domain.model.servers import (
    Command,
    Limits,
    Origin,
    Remote,
    ServerSpec,
    StartPolicy,
)
from domain.model.tasks import AgentPayload, Task, ToolPayload, WorkerId
from domain.model.tools import ToolResult
from domain.model_guard import GuardedModel
from domain.orchestration.fleet import Fleet
from domain.orchestration.life import Parts
from domain.orchestration.placement import PlacedLauncher
from domain.orchestration.roster import Roster
from domain.orchestration.service import McpService
from domain.orchestration.supervision import RestartPolicy
from domain.ports.mcp import Changed, HandshakeFailed, McpSession, Opening, ProgressSink
from domain.ports.schemas import ArgumentCheck, Fault
from domain.ports.storage import StorageUnavailable
from domain.schedules import ScheduleService
from domain.tasks.agent_run import AgentRun
from domain.tasks.carrier import Carrier, WorkerLimits
from domain.tasks.decisions import DecisionService
from domain.tasks.recorder import Recorder
from domain.tasks.retention import Retention
from domain.tasks.runs import Finish, Run, RunOf, ToolRun
from domain.tasks.service import TaskService
from domain.tasks.upkeep import Chore, Upkeep
from domain.tasks.worker import Worker
from tests.simulation.climate import Setting
from tests.simulation.journal import Journal
from tests.simulation.loop import Node, SimulatedLoop
from tests.simulation.models import SimulatedModel
from tests.simulation.names import tag_of
from tests.simulation.schedules import Ticks
from tests.simulation.servers import CALLS_AT_ONCE, SERVERS, NodeLauncher, Outside, ToolServer
from tests.simulation.signals import Air, NodeSignals
from tests.simulation.store import Line, NodeTransactions, Rack
from tests.simulation.troubles import Troubles, TrueClock

POLICY = RestartPolicy(
    longest_delay=timedelta(seconds=4), quarantine_after=4, quarantine=timedelta(seconds=15)
)
# Shorter than usual, so that a run sees a quarantine and its end.
DRAIN = timedelta(seconds=2)
UPKEEP_EVERY = timedelta(seconds=1)


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


class WatchedMcp(McpService):
    """Notes every call's begin and end, and that the answer is the caller's own."""

    def __init__(self, fleet: Fleet, clock: TrueClock, machine: "Machine") -> None:
        super().__init__(fleet, clock)
        self._journal = machine.world.journal
        self._outside = machine.world.outside

    async def call_tool(  # noqa: PLR0913 - as the service's
        self,
        caller: Caller,
        server: str,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        timeout: timedelta,  # noqa: ASYNC109 - as the service's
        progress: ProgressSink | None = None,
    ) -> ToolResult:
        key = str(arguments.get("key"))
        self._journal.note("call-begun", key, within=timeout.total_seconds())
        try:
            result = await super().call_tool(
                caller, server, tool, arguments, timeout=timeout, progress=progress
            )
        except Failure as failure:
            self._journal.note("call-failed", key, why=type(failure).__name__)
            raise
        except asyncio.CancelledError:
            self._journal.note("call-left", key)
            raise
        self._journal.note("call-answered", key)
        self._outside.telling_moment()
        own = f'"text":"{key}"'.encode() in bytes(result.content)
        self._journal.require(own, f"{key} was given the answer of another call")
        return result


def watched(run: Run, outside: Outside) -> Run:
    """The run, its begin and its end noted, however it ends."""
    journal = outside.journal

    async def carry_out(task: Task, recorder: Recorder) -> Finish:
        tag = tag_of(task)
        journal.note("run-begun", tag, attempt=task.attempt)
        most = journal.all("claimed", tag)[-1].data["of"]
        journal.require(
            task.attempt <= most, f"{tag} was carried out {task.attempt} times, {most} are allowed"
        )
        try:
            return await run(task, recorder)
        finally:
            journal.note("run-over", tag, attempt=task.attempt)
            outside.telling_moment(weight=4)

    return carry_out


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


class Life:
    """One life of a node: its services from its start to its crash or its drain."""

    def __init__(self, machine: "Machine") -> None:
        world = machine.world
        self.node = Node(machine.name)
        journal, outside = world.journal, world.outside
        self.clock = clock = TrueClock(world.loop, machine.wrong_by_s)
        chance = SeededChance(machine.dice.getrandbits(60))
        transactions = NodeTransactions(
            world.rack, machine.line, self.node, journal, world.troubles
        )
        self.signals = NodeSignals(world.air, self.node)
        self.launcher = NodeLauncher(self.node, world.programs, outside)
        parts = Parts(
            launcher=self.launcher,
            containers=PlacedLauncher({}),
            connector=StreamConnector("simulation", "1"),
            dialer=_NoDialer(),
            clock=clock,
            chance=chance,
            policy=POLICY,
        )
        self.fleet = Fleet(parts, Roster(transactions, self.signals, SPECS), _Compiler())
        self.mcp = WatchedMcp(self.fleet, clock, machine)
        self.model = GuardedModel(world.model, clock)
        models = Models(self.model, {})
        runs: RunOf = {
            ToolPayload: watched(ToolRun(self.mcp, transactions), outside),
            AgentPayload: watched(AgentRun(self.mcp, models, transactions), outside),
        }
        limits = WorkerLimits(concurrency=world.setting.concurrency)
        carrier = Carrier(transactions, self.signals, runs, chance, limits)
        self.worker = Worker(
            WorkerId(machine.name),
            transactions,
            self.signals,
            carrier,
            limits,
            lambda: world.setting.caps,
        )
        self.tasks = TaskService(transactions, self.signals, chance, models)
        self.chats = ChatService(transactions, self.tasks, self.worker, chance)
        self.decisions = DecisionService(transactions, self.signals)
        self.schedules = ScheduleService(
            transactions, self.signals, self.tasks, world.ticks, chance
        )
        retention = Retention(transactions, self.signals, timedelta(days=1))
        chores = (
            Chore(name="overdue", act=retention.end_overdue, every=UPKEEP_EVERY),
            Chore(name="schedules", act=self.schedules.fire_due, every=UPKEEP_EVERY),
        )
        self.upkeep = Upkeep(chores, chance)
        self.ready = False

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


class Machine:
    """A place for one node after the other, under one name."""

    def __init__(self, name: str, world: Surroundings, dice: Random, wrong_by_s: float) -> None:
        self.name = name
        self.world = world
        self.dice = dice
        self.wrong_by_s = wrong_by_s
        self.line = Line(Random(dice.getrandbits(60)))  # noqa: S311 - repeatable
        self.life: Life | None = None

    def start(self) -> None:
        """Begin the next life."""
        self._befell("start")
        self.life = life = Life(self)
        self._on(life, life.start)

    def crash(self) -> None:
        """As `kill -9`; its servers live a moment longer, as under their guards."""
        life = self.life
        if life is None:
            return
        self._befell("crash")
        life.node.crash()
        self.world.loop.call_later(self.dice.uniform(0, 0.5), life.launcher.crash)
        self.life = None

    def freeze(self) -> None:
        """As SIGSTOP; its servers go on."""
        if self.life is not None:
            self._befell("freeze")
            self.life.node.freeze()

    def thaw(self) -> None:
        """As SIGCONT."""
        if self.life is not None and self.life.node.frozen:
            self._befell("thaw")
            self.life.node.thaw()

    def drain(self) -> None:
        """As SIGTERM, and the next life after it."""
        life = self.life
        if life is not None and life.up:
            self._befell("drain")
            self._on(life, self._drained, life)

    async def _drained(self, life: Life) -> None:
        await life.stop()
        self.world.journal.note("drained")
        self.world.loop.call_soon(self._again, life, context=Context())

    def _again(self, life: Life) -> None:
        if self.life is life:
            self.life = None
            self.start()

    def ask(self, request: Callable[[Life], Coroutine[Any, Any, None]]) -> bool:
        """Carry out a client's request here, unless nobody would answer."""
        life = self.life
        if life is None or not life.ready:
            return False
        self._on(life, request, life)
        return True

    def _on(self, life: Life, act: Callable[..., Coroutine[Any, Any, None]], *args: object) -> None:
        self.world.loop.create_task(act(*args), context=life.node.context.copy())

    def _befell(self, what: str) -> None:
        self.world.troubles.befell(self.name)
        self.world.journal.note(what, self.name)
