"""A worker over the parts of a system."""

from contextlib import AsyncExitStack
from datetime import timedelta

from domain.agents import Models
from domain.model.tasks import AgentPayload, ToolPayload
from domain.orchestration.service import McpService
from domain.tasks.agent_run import AgentRun
from domain.tasks.carrier import Carrier, WorkerLimits
from domain.tasks.runs import RunOf, ToolRun
from domain.tasks.worker import Worker
from entrypoints.wiring.ground import Ground
from entrypoints.wiring.node import Node


async def started_worker(
    ground: Ground, node: Node, mcp: McpService, models: Models, stack: AsyncExitStack
) -> Worker:
    """A worker that claims already; the stack ends it."""
    transactions, signals = ground.transactions, ground.shared.signals
    limits = WorkerLimits(concurrency=node.concurrency)
    runs: RunOf = {
        ToolPayload: ToolRun(mcp, transactions),
        AgentPayload: AgentRun(mcp, models, transactions),
    }
    carrier = Carrier(transactions, signals, runs, ground.chance, limits)
    worker = Worker(node.name, transactions, signals, carrier, limits)
    await worker.start()
    stack.push_async_callback(worker.stop, timedelta())
    return worker
