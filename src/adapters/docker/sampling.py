"""Looks at what containers use, and ends one that writes more than it may.

What else is limited the kernel holds to its limit by itself.
"""

import asyncio
import time
from collections.abc import Mapping

from adapters.docker.child import ContainerChild
from adapters.docker.containers import Containers
from domain.model.containers import ContainerNotFound, EngineRefused
from domain.model.metering import excess
from domain.model.servers import Limits
from domain.ports.engines import EngineUnavailable

SAMPLE_S = 2.0
# One small request a container.


class Sampling:
    """One look after the other at all children, while there are any."""

    def __init__(self, containers: Containers, children: Mapping[str, ContainerChild]) -> None:
        self._containers = containers
        self._children = children
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """There is a child; may be repeated."""
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run(), name="container sampling")

    async def stop(self) -> None:
        """End at once."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})

    async def _run(self) -> None:
        while self._children:
            await asyncio.sleep(SAMPLE_S)
            for child in tuple(self._children.values()):
                try:
                    await self._look_at(child)
                except (EngineUnavailable, EngineRefused, ContainerNotFound):
                    continue  # it has ended, or whoever needs the engine says that it is away

    async def _look_at(self, child: ContainerChild) -> None:
        sample = await self._containers.sample(child.container_id)
        usage = child.meter.take(
            time.monotonic(),
            cpu_s=sample.cpu_stats.cpu_usage.total_usage / 1e9,
            written=child.written,
            memory_bytes=sample.memory_bytes,
            processes=sample.pids_stats.current,
        )
        only = Limits(memory_mb=None, processes=None, output_mb_per_s=child.limits.output_mb_per_s)
        if over := excess(usage, only, settled=child.meter.settled):
            await child.go_over(over)
