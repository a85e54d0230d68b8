"""The store as nodes find it: the in-memory twin behind a line that delays, refuses and forgets."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from random import Random
from typing import Any

from adapters.inmemory.queue import MemoryQueue
from adapters.inmemory.state import Rows, State
from adapters.inmemory.transactions import MemoryTransaction
from domain.model.tasks import Hold, NewEvent, Outcome, Task, TaskId, TaskStatus
from domain.ports.storage import StorageUnavailable
from domain.ports.system import Clock
from tests.simulation.journal import Journal
from tests.simulation.loop import Node, SimulatedLoop
from tests.simulation.rules import WATCHED, Rules
from tests.simulation.troubles import Troubles


class _Logged(dict[Any, Any]):
    """A table that remembers what its rows were `before` the transaction, None for new ones.

    A transaction here runs in one turn, so nobody sees it half done, and nothing need be copied.
    """

    def __init__(self) -> None:
        super().__init__()
        self.before: dict[Any, Any] = {}

    def __setitem__(self, key: Any, row: Any) -> None:
        self.before.setdefault(key, self.get(key))
        super().__setitem__(key, row)

    def __delitem__(self, key: Any) -> None:
        self.before.setdefault(key, self.get(key))
        super().__delitem__(key)

    def pop(self, key: Any, default: Any = None) -> Any:
        self.before.setdefault(key, self.get(key))
        return super().pop(key, default)

    def roll_back(self) -> None:
        """Have the rows as they were."""
        for key, row in self.before.items():
            if row is None:
                super().pop(key, None)
            else:
                super().__setitem__(key, row)


class _SeenQueue(MemoryQueue):
    """The twin's queue; what a stale attempt could write is kept in `stale`."""

    def __init__(self, rows: Rows) -> None:
        super().__init__(rows)
        self._rows = rows.state.tasks
        self.stale: list[str] = []

    async def record(self, hold: Hold, events: tuple[NewEvent, ...]) -> int:
        before = self._rows.get(hold.task_id)
        seq = await super().record(hold, events)
        self._fenced("record", hold, before)
        return seq

    async def finish(self, hold: Hold, outcome: Outcome) -> Task:
        before = self._rows.get(hold.task_id)
        task = await super().finish(hold, outcome)
        self._fenced("finish", hold, before)
        return task

    def _fenced(self, act: str, hold: Hold, row: Task | None) -> None:
        if row is None or (row.status, row.attempt) != (TaskStatus.RUNNING, hold.attempt):
            self.stale.append(f"a stale attempt had an effect: {act} at attempt {hold.attempt}")


class _SeenTransaction(MemoryTransaction):
    def __init__(self, rows: Rows) -> None:
        super().__init__(rows)
        self.queue: _SeenQueue = _SeenQueue(rows)


class Rack:
    """The store's own machine: never fails, its clock is the true one, every commit is looked at.

    A transaction's body must not wait: it runs in one turn of the loop, so that a node crashes
    or freezes before it or after it.
    """

    def __init__(self, loop: SimulatedLoop, clock: Clock, journal: Journal, rules: Rules) -> None:
        self._loop = loop
        self._clock = clock
        self._journal = journal
        self._rules = rules
        self.state = State(**{name: _Logged() for name in State.__struct_fields__})

    @contextmanager
    def write(self) -> Iterator[MemoryTransaction]:
        """A transaction that commits at the end of the block."""
        turn = self._loop.turns
        transaction = _SeenTransaction(Rows(state=self.state, clock=self._clock))
        tables: list[_Logged] = [getattr(self.state, name) for name in State.__struct_fields__]
        for table in tables:
            table.before.clear()
        try:
            yield transaction
        except BaseException:
            for table in tables:
                table.roll_back()
            raise
        self._journal.require(turn == self._loop.turns, "a transaction waits for something else")
        for rule in transaction.queue.stale:
            self._journal.broke(rule)
        self._rules.committed(
            {name: getattr(self.state, name).before for name in WATCHED},
            self.state,
            self._clock.now(),
        )

    def check(self) -> None:
        """All is over: hold the rows to what they must be at the end."""
        self._rules.check(self.state)

    def read(self) -> MemoryTransaction:
        """The committed rows."""
        return MemoryTransaction(Rows(state=self.state.sealed(), clock=self._clock))

    def task(self, task_id: TaskId) -> Task | None:
        """A row as it is now."""
        return self.state.tasks.get(task_id)


class Line:
    """The way from one node to the store, which the weather makes worse for a while."""

    def __init__(self, dice: Random) -> None:
        self._dice = dice
        self.refuses = 0.0
        self.forgets = 0.0
        self.slow_s = 0.0

    async def travel(self) -> None:
        """Be under way."""
        await asyncio.sleep(0.001 + (0.004 + self.slow_s) * self._dice.random())

    @property
    def is_refused(self) -> bool:
        return self.refuses > 0 and self._dice.random() < self.refuses

    @property
    def is_forgotten(self) -> bool:
        return self.forgets > 0 and self._dice.random() < self.forgets


class NodeTransactions:
    """The store as one node reaches it."""

    def __init__(
        self, rack: Rack, line: Line, node: Node, journal: Journal, troubles: Troubles
    ) -> None:
        self._rack = rack
        self._line = line
        self._node = node
        self._journal = journal
        self._troubles = troubles

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[MemoryTransaction]:
        await self._there()
        with self._rack.write() as transaction:
            yield transaction
        forgotten = self._line.is_forgotten
        await self._line.travel()
        if forgotten:
            raise self._failed("unanswered", "The store's answer was lost.")

    def single(self) -> AbstractAsyncContextManager[MemoryTransaction]:
        return self.begin()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[MemoryTransaction]:
        await self._there()
        yield self._rack.read()

    async def _there(self) -> None:
        if self._line.slow_s:
            self._troubles.store_failed(self._node.name)
        await self._line.travel()
        if self._line.is_refused:
            raise self._failed("refused", "The store refused the connection.")

    def _failed(self, what: str, message: str) -> StorageUnavailable:
        self._troubles.store_failed(self._node.name)
        self._journal.note(what, self._node.name)
        return StorageUnavailable(message)
