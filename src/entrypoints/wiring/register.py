"""This process's place in the register of workers."""

import logging
import os
import platform
from contextlib import AsyncExitStack
from importlib.metadata import version

from domain.model.workers import WorkerSign
from domain.ports.storage import StorageUnavailable
from domain.tasks.register import Register
from entrypoints.wiring.ground import Ground
from entrypoints.wiring.node import Node

logger = logging.getLogger(__name__)


async def entered_register(ground: Ground, node: Node, stack: AsyncExitStack) -> Register:
    """The register with this process in it; the stack takes it out again."""
    sign = WorkerSign(
        worker_id=node.name,
        host=platform.node(),
        pid=os.getpid(),
        version=version("sutazai"),
        concurrency=node.concurrency,
    )
    register = Register(ground.transactions, sign)

    async def leave() -> None:
        try:
            await register.leave()
        except StorageUnavailable as failure:
            logger.warning("it stays in the register as lost: %s", failure.message)

    await register.enter()
    stack.push_async_callback(leave)
    return register
