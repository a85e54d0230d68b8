"""An engine's events: deaths of containers, told at once and never missed for long."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec

from adapters.docker.connection import Connection
from adapters.docker.creation import Labels
from adapters.docker.wire import Event
from domain.model.containers import EngineRefused
from domain.ports.engines import EngineUnavailable

AGAIN_S = 1.0
# After the stream broke: an engine restarts within seconds.

Told = Callable[[Event], None]
Returned = Callable[[], Awaitable[None]]

logger = logging.getLogger(__name__)


class Watch:
    """Listens for as long as it runs; `returned` is called after each gap, to look for oneself."""

    def __init__(
        self, connection: Connection, labels: Labels, told: Told, returned: Returned
    ) -> None:
        self._connection = connection
        self._labels = labels
        self._told = told
        self._returned = returned
        self._task: asyncio.Task[None] | None = None
        self.listening = asyncio.Event()

    def start(self) -> None:
        """Begin, unless it runs."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._listen_on_and_on())

    async def stop(self) -> None:
        """End it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _listen_on_and_on(self) -> None:
        gap = False
        while True:
            try:
                await self._listen(after_gap=gap)
            except (EngineUnavailable, EngineRefused) as failure:
                if not gap or self.listening.is_set():
                    logger.warning("%s", failure.message)
            self.listening.clear()
            gap = True
            await asyncio.sleep(AGAIN_S)

    async def _listen(self, *, after_gap: bool) -> None:
        filters = {
            "type": ["container"],
            "event": ["die", "oom"],
            "label": [self._labels.own],
        }
        query = {"filters": msgspec.json.encode(filters).decode()}
        decoder = msgspec.json.Decoder(Event)
        async with self._connection.stream("GET", "/events", query=query) as answer:
            self.listening.set()
            if after_gap:
                await self._returned()
            async for line in answer.aiter_lines():
                if line.strip():
                    self._told(decoder.decode(line))
