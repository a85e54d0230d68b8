"""The composition root of `serve`: every service, opened and closed as one stack."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec
import svcs

from domain.agents import AgentService
from domain.chat import ChatService
from domain.health import HealthService
from domain.mesh import MeshService
from domain.model.servers import SERVING, ServerState
from domain.orchestration.containers import ContainerService
from domain.orchestration.service import McpService
from domain.ports.cache import Cache
from domain.ports.limits import RateLimits
from domain.ports.storage import StorageInspector
from domain.ports.system import Clock
from domain.tasks.decisions import DecisionService
from domain.tasks.register import WorkerService
from domain.tasks.service import TaskService
from domain.tasks.worker import Worker
from entrypoints.settings.values import Settings
from entrypoints.wiring.engines import deploy_rules, engines_of
from entrypoints.wiring.ground import opened_ground
from entrypoints.wiring.models import models_of
from entrypoints.wiring.node import Node
from entrypoints.wiring.probes import probes_of
from entrypoints.wiring.register import entered_register
from entrypoints.wiring.schedules import schedules_of
from entrypoints.wiring.servers import started_servers
from entrypoints.wiring.upkeep import start_upkeep
from entrypoints.wiring.worker import started_worker

ANSWERING = SERVING | {ServerState.IDLE, ServerState.STARTING}


class System(msgspec.Struct, frozen=True, kw_only=True):
    """An open system; `container` holds every service under its type."""

    container: svcs.Container
    mcp: McpService
    worker: Worker


@asynccontextmanager
async def open_system(settings: Settings, node: Node) -> AsyncIterator[System]:
    """Open the database, begin the servers and the worker; leaving ends them in turn.

    Raises:
        StorageUnavailable: the database cannot be reached in time, or its tables are outdated.
    """
    async with AsyncExitStack() as stack:
        ground = await opened_ground(settings, stack)
        clock, transactions, signals = ground.clock, ground.transactions, ground.shared.signals
        models = models_of(settings, clock, stack)
        engines = engines_of(settings, ground, node, stack)
        mcp = await started_servers(ground, node, engines, stack)
        worker = await started_worker(settings, ground, node, mcp, models, stack)
        register = await entered_register(ground, node, stack)
        start_upkeep(settings, ground, models, register, stack)
        tasks = TaskService(transactions, signals, ground.chance, models)
        health = HealthService(probes_of(ground, mcp, models, worker, engines), clock)
        registry = svcs.Registry()
        for service in (
            mcp,
            AgentService(transactions, models, lambda: _offered(mcp), clock),
            tasks,
            WorkerService(transactions),
            schedules_of(ground),
            ChatService(transactions, tasks, worker, ground.chance),
            health,
            MeshService(mcp, models, health, clock),
            ContainerService(mcp, engines, deploy_rules(settings)),
            DecisionService(transactions, signals),
        ):
            registry.register_value(type(service), service)
        registry.register_value(Clock, clock)
        registry.register_value(StorageInspector, ground.inspector)
        registry.register_value(Cache, ground.shared.cache)
        registry.register_value(RateLimits, ground.shared.limits)
        yield System(container=svcs.Container(registry), mcp=mcp, worker=worker)


def _offered(mcp: McpService) -> frozenset[str]:
    """Full names of the tools whose server takes calls now, or would on the first."""
    answering = {record.spec.name for record in mcp.records() if record.state in ANSWERING}
    return frozenset(tool.full_name for tool in mcp.tools() if tool.server in answering)
