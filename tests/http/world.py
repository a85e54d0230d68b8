"""A whole system on in-memory twins: real services, one toy server, a model that can be held."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
import svcs

from adapters.cron import CronCalendar
from adapters.inmemory.cache import MemoryCache
from adapters.inmemory.engine import MemoryEngine, MemoryImages
from adapters.inmemory.launcher import MemoryLauncher
from adapters.inmemory.limits import MemoryRateLimits
from adapters.inmemory.signals import MemorySignals
from adapters.inmemory.transactions import MemoryTransactions
from adapters.mcp.remote.connector import HttpConnector
from adapters.system import SystemChance, SystemClock
from domain.agents import AgentService, Models, NewAgent
from domain.chat import ChatService
from domain.health import FixedProbe, HealthService, ServersProbe, StorageProbe
from domain.mesh import MeshService
from domain.model.callers import LOCAL
from domain.model.health import Finding, HealthState
from domain.model.servers import Command, Origin, ServerName, ServerSpec
from domain.model.tasks import AgentPayload, ToolPayload, WorkerId
from domain.model_guard import GuardedModel
from domain.orchestration.containers import ContainerService, DeployRules
from domain.orchestration.fleet import Fleet
from domain.orchestration.life import Parts
from domain.orchestration.placement import PlacedLauncher
from domain.orchestration.roster import Roster
from domain.orchestration.service import McpService
from domain.ports.cache import Cache
from domain.ports.limits import RateLimits
from domain.ports.probes import Probe
from domain.ports.storage import StorageInspector
from domain.ports.system import Clock
from domain.schedules import ScheduleService
from domain.tasks.agent_run import AgentRun
from domain.tasks.carrier import Carrier, WorkerLimits
from domain.tasks.decisions import DecisionService
from domain.tasks.register import WorkerService
from domain.tasks.runs import RunOf, ToolRun
from domain.tasks.service import TaskService
from domain.tasks.worker import Worker
from entrypoints.http.application import application
from entrypoints.http.door import Door, DoorRules
from entrypoints.http.limits import Quota
from entrypoints.serving import HttpServer, probe_port
from tests.http.toys import HeldModel, ToyCompiler, ToyConnector, ToyInspector, until_input_ends


class World:
    """The parts of one system, and a client of it."""

    def __init__(self) -> None:
        clock, chance = SystemClock(), SystemChance()
        self.transactions = MemoryTransactions(clock)
        signals = MemorySignals()
        self.connector = ToyConnector()
        self.launcher = MemoryLauncher({"toy": until_input_ends})
        self.model = HeldModel()
        self.inspector = ToyInspector()
        models = Models(GuardedModel(self.model, clock), {})
        toy = ServerSpec(
            name=ServerName("toy"),
            recipe=Command(command="toy", args=("--api-key", "hush", "x"), env={"TOKEN": "hush"}),
            origin=Origin.FILE,
            owner=LOCAL.id,
        )
        self.engine = MemoryEngine("twin", MemoryImages({"box:1": until_input_ends}), clock)
        engines = {"twin": self.engine}
        parts = Parts(
            launcher=self.launcher,
            containers=PlacedLauncher(engines),
            connector=self.connector,
            dialer=HttpConnector("tester", "1"),
            clock=clock,
            chance=chance,
        )
        self.fleet = Fleet(parts, Roster(self.transactions, signals, (toy,)), ToyCompiler())
        self.mcp = McpService(self.fleet, clock)
        self.agents = AgentService(
            self.transactions,
            models,
            lambda: [tool.full_name for tool in self.mcp.tools()],
            clock,
        )
        self.tasks = TaskService(self.transactions, signals, chance, models)
        runs: RunOf = {
            ToolPayload: ToolRun(self.mcp, self.transactions),
            AgentPayload: AgentRun(self.mcp, models, self.transactions),
        }
        limits = WorkerLimits(heartbeat=timedelta(seconds=0.05), poll=timedelta(seconds=0.05))
        carrier = Carrier(self.transactions, signals, runs, chance, limits)
        self.worker = Worker(WorkerId("w"), self.transactions, signals, carrier, limits)
        chats = ChatService(self.transactions, self.tasks, self.worker, chance)
        probes: dict[str, Probe] = {
            "database": StorageProbe(self.inspector),
            "mcp": ServersProbe(self.mcp),
            "docker": FixedProbe(Finding(state=HealthState.DISABLED, reason="no engine")),
        }
        health = HealthService(probes, clock)
        self.limits = MemoryRateLimits(clock)
        registry = svcs.Registry()
        for kind, value in (
            (AgentService, self.agents),
            (Cache, MemoryCache(clock)),
            (
                ContainerService,
                ContainerService(self.mcp, engines, DeployRules(images=("box:*",))),
            ),
            (RateLimits, self.limits),
            (ChatService, chats),
            (Clock, clock),
            (DecisionService, DecisionService(self.transactions, signals)),
            (HealthService, health),
            (McpService, self.mcp),
            (MeshService, MeshService(self.mcp, models, health, clock)),
            (ScheduleService, ScheduleService(self.transactions, CronCalendar(), chance)),
            (StorageInspector, self.inspector),
            (TaskService, self.tasks),
            (WorkerService, WorkerService(self.transactions)),
        ):
            registry.register_value(kind, value)
        self.container = svcs.Container(registry)
        self.port = probe_port("127.0.0.1", 0)
        self.door = Door(DoorRules(port=self.port, max_body_bytes=100_000))
        self.server = HttpServer(self.door, "127.0.0.1", self.port, timedelta(seconds=0.3))
        self.client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=10)


@asynccontextmanager
async def running_world(**per_minute: int) -> AsyncIterator[World]:
    """A world with its toy server up, an agent, a worker and an open door.

    The numbers limit what Quota names so.
    """
    world = World()
    await world.fleet.start()
    await world.mcp.execute(LOCAL, "toy", "ping", {}, timeout=timedelta(seconds=5))
    await world.agents.create(
        LOCAL, NewAgent(name="General assistant", instructions="Help.", tools=("toy__*",))
    )
    await world.worker.start()
    quotas = {Quota[name.upper()]: most for name, most in per_minute.items()}
    app = application(world.container, world.door.draining, quotas)
    async with world.server, world.client:
        world.door.open(app)
        yield world
    world.model.go.set()
    await world.worker.stop(timedelta(seconds=1))
    await world.fleet.stop()
