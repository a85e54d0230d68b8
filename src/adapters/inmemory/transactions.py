"""Transactions in memory: for tests, trials and simulations, nothing outlives the process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from adapters.inmemory.agents import MemoryAgents
from adapters.inmemory.conversations import MemoryConversations
from adapters.inmemory.decisions import MemoryDecisions
from adapters.inmemory.keys import MemoryKeys
from adapters.inmemory.queue import MemoryQueue
from adapters.inmemory.retention import MemoryRetention
from adapters.inmemory.schedules import MemorySchedules
from adapters.inmemory.servers import MemoryServers
from adapters.inmemory.state import Rows, State
from adapters.inmemory.tasks import MemoryTasks
from adapters.inmemory.workers import MemoryWorkers
from domain.ports.system import Clock


class MemoryTransaction:
    """All stores over one state."""

    def __init__(self, rows: Rows) -> None:
        self.agents = MemoryAgents(rows)
        self.servers = MemoryServers(rows)
        self.conversations = MemoryConversations(rows)
        self.tasks = MemoryTasks(rows)
        self.queue = MemoryQueue(rows)
        self.keys = MemoryKeys(rows)
        self.schedules = MemorySchedules(rows)
        self.retention = MemoryRetention(rows)
        self.decisions = MemoryDecisions(rows)
        self.workers = MemoryWorkers(rows)


class MemoryTransactions:
    """A store whose clock is given. Writers take turns; readers see the last committed state."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._committed = State()
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[MemoryTransaction]:
        async with self._turn:
            await asyncio.sleep(0)  # as with any real store, others run meanwhile
            state = self._committed.copy()
            yield MemoryTransaction(Rows(state=state, clock=self._clock))
            self._committed = state

    def single(self) -> AbstractAsyncContextManager[MemoryTransaction]:
        return self.begin()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[MemoryTransaction]:
        await asyncio.sleep(0)  # as above
        yield MemoryTransaction(Rows(state=self._committed.sealed(), clock=self._clock))
