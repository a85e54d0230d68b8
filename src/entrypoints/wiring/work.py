"""The composition root of `work`: a worker and all that tasks need, without an API."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from domain.tasks.worker import Worker
from entrypoints.settings.values import Settings
from entrypoints.wiring.engines import engines_of
from entrypoints.wiring.ground import opened_ground
from entrypoints.wiring.models import models_of
from entrypoints.wiring.node import Node
from entrypoints.wiring.register import entered_register
from entrypoints.wiring.servers import started_servers
from entrypoints.wiring.upkeep import start_upkeep
from entrypoints.wiring.worker import started_worker


@asynccontextmanager
async def open_worker(settings: Settings, node: Node) -> AsyncIterator[Worker]:
    """A worker that claims already; leaving ends it and the servers that it has started.

    Raises:
        StorageUnavailable: the database cannot be reached in time, or its tables are outdated.
    """
    async with AsyncExitStack() as stack:
        ground = await opened_ground(settings, stack)
        models = models_of(settings, ground.clock, stack)
        engines = engines_of(settings, ground, node, stack)
        mcp = await started_servers(ground, node, engines, stack)
        worker = await started_worker(settings, ground, node, mcp, models, stack)
        register = await entered_register(ground, node, stack)
        start_upkeep(settings, ground, models, register, stack)
        yield worker
