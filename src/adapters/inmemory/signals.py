"""Hints within one process."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

BACKLOG = 256
# A listener this far behind polls the store anyway.


class MemorySubscription:
    """A bounded queue of hints, the oldest lost first."""

    def __init__(self) -> None:
        self._hints: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue(BACKLOG)

    async def next(self, wait_s: float) -> Mapping[str, Any] | None:
        try:
            async with asyncio.timeout(wait_s):
                return await self._hints.get()
        except TimeoutError:
            return None

    def put(self, hint: Mapping[str, Any]) -> None:
        """Take a hint, at the cost of the oldest where there is no room."""
        if self._hints.full():
            self._hints.get_nowait()
        self._hints.put_nowait(hint)


class MemorySignals:
    """Topics of one process; used from its event loop only."""

    def __init__(self) -> None:
        self._topics: dict[str, list[MemorySubscription]] = {}

    def publish(self, topic: str, hint: Mapping[str, Any]) -> None:
        for subscription in self._topics.get(topic, ()):
            subscription.put(hint)

    @asynccontextmanager
    async def subscribe(self, topic: str) -> AsyncIterator[MemorySubscription]:
        subscription = MemorySubscription()
        self._topics.setdefault(topic, []).append(subscription)
        try:
            yield subscription
        finally:
            listeners = self._topics[topic]
            listeners.remove(subscription)
            if not listeners:
                del self._topics[topic]
