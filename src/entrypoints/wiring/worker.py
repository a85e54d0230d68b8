"""A worker over the parts of a system."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import timedelta

from domain.agents import Models
from domain.model.tasks import AgentPayload, Lane, ToolPayload, model_lane, server_lane
from domain.orchestration.service import McpService
from domain.tasks.agent_run import AgentRun
from domain.tasks.carrier import Carrier, WorkerLimits
from domain.tasks.runs import RunOf, ToolRun
from domain.tasks.worker import Caps, Worker
from entrypoints.settings.values import Settings
from entrypoints.wiring.ground import Ground
from entrypoints.wiring.node import Node


async def started_worker(  # noqa: PLR0913, PLR0917 - all that tasks need
    settings: Settings,
    ground: Ground,
    node: Node,
    mcp: McpService,
    models: Models,
    stack: AsyncExitStack,
) -> Worker:
    """A worker that claims already; the stack ends it."""
    transactions, signals = ground.transactions, ground.shared.signals
    limits = WorkerLimits(concurrency=node.concurrency)
    runs: RunOf = {
        ToolPayload: ToolRun(mcp, transactions),
        AgentPayload: AgentRun(mcp, models, transactions),
    }
    carrier = Carrier(transactions, signals, runs, ground.chance, limits)
    caps = caps_of(settings, models, mcp)
    worker = Worker(node.name, transactions, signals, carrier, limits, caps)
    await worker.start()
    stack.push_async_callback(worker.stop, timedelta())
    return worker


def caps_of(settings: Settings, models: Models, mcp: McpService) -> Caps:
    """How many tasks each model and each server may have at once: servers come and go."""
    mosts = {name: model.max_tasks for name, model in settings.models.items()}
    of_models = {
        model_lane(models.first_name(name)): most
        for name, most in [*mosts.items(), (None, settings.llm_max_tasks)]
        if most is not None
    }

    def caps() -> Mapping[Lane, int]:
        specs = [record.spec for record in mcp.records()]
        of_servers = {
            server_lane(spec.name): spec.max_tasks for spec in specs if spec.max_tasks is not None
        }
        return of_models | of_servers

    return caps
