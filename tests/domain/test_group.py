"""Writes that come together are committed together, and each is told its own outcome."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta

import pytest

from adapters.inmemory.queue import MemoryQueue
from adapters.inmemory.system import ManualClock
from adapters.inmemory.transactions import MemoryTransaction, MemoryTransactions
from domain.model.tasks import Hold, StaleAttempt, TaskId
from domain.ports.storage import StorageUnavailable
from domain.ports.tasks import Entry
from domain.tasks.group import MOST_AT_ONCE, GroupWriter
from tests.contracts.storage import DONE, WORKER, hold_of, text_event, tool_task

pytestmark = pytest.mark.anyio


class Counted:
    """A store that counts its transactions, refuses some, and chokes on events named so."""

    def __init__(self) -> None:
        self._transactions = MemoryTransactions(ManualClock())
        self.read = self._transactions.read
        self.sizes: list[int] = []
        self.refused = 0

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[MemoryTransaction]:
        if self.refused:
            self.refused -= 1
            raise StorageUnavailable("The store is away.")
        async with self._transactions.begin() as transaction:
            transaction.queue = _Choking(transaction.queue, self.sizes)  # type: ignore[assignment]
            yield transaction

    def single(self) -> AbstractAsyncContextManager[MemoryTransaction]:
        return self.begin()

    async def claimed(self, number: int) -> list[Hold]:
        """So many tasks of one worker."""
        async with self._transactions.begin() as transaction:
            for task in range(number):
                await transaction.tasks.add(tool_task(f"t{task:03}"))
            tasks = await transaction.queue.claim(WORKER, timedelta(minutes=1), number)
        return [hold_of(task) for task in tasks]


class _Choking:
    def __init__(self, queue: MemoryQueue, sizes: list[int]) -> None:
        self._queue = queue
        self._sizes = sizes

    async def write(self, entries: tuple[Entry, ...]) -> tuple[int | None, ...]:
        self._sizes.append(len(entries))
        if any(event.data["text"] == "choke" for entry in entries for event in entry.events):
            raise ZeroDivisionError
        return await self._queue.write(entries)


def entry(hold: Hold, *texts: str) -> Entry:
    return Entry(hold=hold, events=tuple(map(text_event, texts)))


async def test_what_comes_while_a_commit_is_under_way_shares_the_next() -> None:
    store = Counted()
    writer = GroupWriter(store)
    holds = await store.claimed(10)
    first = asyncio.create_task(writer.write(entry(holds[0], "a")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    rest = [asyncio.create_task(writer.write(entry(hold, "a"))) for hold in holds[1:]]
    assert await asyncio.gather(first, *rest) == [1] * 10
    assert store.sizes == [1, 9]


async def test_a_group_is_bounded() -> None:
    store = Counted()
    writer = GroupWriter(store)
    holds = await store.claimed(MOST_AT_ONCE + 5)
    await asyncio.gather(*(writer.write(entry(hold, "a")) for hold in holds))
    assert store.sizes == [MOST_AT_ONCE, 5]


async def test_entries_of_one_attempt_keep_their_order() -> None:
    store = Counted()
    writer = GroupWriter(store)
    one, other = await store.claimed(2)
    seqs = await asyncio.gather(
        writer.write(entry(one, "a", "b")),
        writer.write(entry(one, "c")),
        writer.write(entry(other, "x")),
        writer.write(Entry(hold=one, events=(text_event("d"),), outcome=DONE)),
    )
    assert [*seqs] == [2, 3, 1, 4]
    assert store.sizes == [2, 1, 1]
    async with store.read() as transaction:
        events = await transaction.tasks.events(one.task_id, 0, 10)
    assert [event.data["text"] for event in events] == ["a", "b", "c", "d"]


async def test_a_stale_attempt_is_told_so_and_the_others_are_kept() -> None:
    store = Counted()
    writer = GroupWriter(store)
    fine, _ = await store.claimed(2)
    stale = Hold(task_id=TaskId("t001"), attempt=7)
    kept, refused = await asyncio.gather(
        writer.write(entry(fine, "a")), writer.write(entry(stale, "a")), return_exceptions=True
    )
    assert kept == 1
    assert isinstance(refused, StaleAttempt)
    assert refused.details == {"task_id": "t001", "attempt": 7}
    assert store.sizes == [2]


async def test_a_store_that_is_away_fails_all_of_a_group_and_serves_the_next() -> None:
    store = Counted()
    writer = GroupWriter(store)
    holds = await store.claimed(3)
    store.refused = 1
    outcomes = await asyncio.gather(
        *(writer.write(entry(hold, "a")) for hold in holds), return_exceptions=True
    )
    assert all(isinstance(outcome, StorageUnavailable) for outcome in outcomes)
    assert await writer.write(entry(holds[0], "a")) == 1


async def test_an_entry_that_cannot_be_kept_fails_alone() -> None:
    store = Counted()
    writer = GroupWriter(store)
    holds = await store.claimed(3)
    texts = ["a", "choke", "a"]
    outcomes = await asyncio.gather(
        *(writer.write(entry(hold, text)) for hold, text in zip(holds, texts, strict=True)),
        return_exceptions=True,
    )
    assert isinstance(outcomes[1], ZeroDivisionError)
    assert (outcomes[0], outcomes[2]) == (1, 1)
    assert store.sizes == [3, 1, 1, 1]


async def test_a_caller_that_was_cancelled_takes_nothing_from_the_others() -> None:
    store = Counted()
    writer = GroupWriter(store)
    one, other = await store.claimed(2)
    left = asyncio.create_task(writer.write(entry(one, "a")))
    stayed = asyncio.create_task(writer.write(entry(other, "a")))
    await asyncio.sleep(0)
    left.cancel()
    assert await stayed == 1
    assert await writer.write(Entry(hold=one, events=(text_event("b"),))) == 2
    assert left.cancelled()
