"""Writes of many attempts in one transaction: what comes while one is under way shares the next."""

import asyncio
from collections import deque

from domain.model.tasks import StaleAttempt, TaskId
from domain.ports.storage import StorageUnavailable, Transactions
from domain.ports.tasks import Entry

MOST_AT_ONCE = 100
# A transaction stays short: claims and callers wait behind it.

_Waiting = tuple[Entry, "asyncio.Future[int]"]


class GroupWriter:
    """Writes entries of this process's attempts, each behind its own fence.

    A commit costs as much for a hundred as for one, and the tasks of a busy worker end close to
    one another. Whoever is alone waits for nobody.
    """

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._waiting: deque[_Waiting] = deque()
        self._writing: asyncio.Task[None] | None = None

    async def write(self, entry: Entry) -> int:
        """Write it; return the `seq` of its last event once it is kept.

        An attempt's entries are written in the order in which they came. One whose caller is
        cancelled may be written all the same. Raises StaleAttempt, StorageUnavailable.
        """
        kept: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, kept))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all(), name="group writer")
        return await kept

    async def _write_all(self) -> None:
        while group := self._next():
            try:
                await self._write(group)
            except Exception as error:  # noqa: BLE001 - told to those who wait for it
                if len(group) == 1 or isinstance(error, StorageUnavailable):
                    _tell(group, error)
                    continue
                # One of them is at fault: each for itself.
                for one in group:
                    await self._write_alone(one)

    async def _write_alone(self, one: _Waiting) -> None:
        try:
            await self._write([one])
        except Exception as error:  # noqa: BLE001 - as above
            _tell([one], error)

    def _next(self) -> list[_Waiting]:
        """Those that waited longest, one a task."""
        group: dict[TaskId, _Waiting] = {}
        later: list[_Waiting] = []
        while self._waiting and len(group) < MOST_AT_ONCE:
            entry, kept = self._waiting.popleft()
            if entry.hold.task_id in group:
                later.append((entry, kept))
            else:
                group[entry.hold.task_id] = (entry, kept)
        self._waiting.extendleft(reversed(later))
        return list(group.values())

    async def _write(self, group: list[_Waiting]) -> None:
        async with self._transactions.single() as transaction:
            seqs = await transaction.queue.write(tuple(entry for entry, _ in group))
        for (entry, kept), seq in zip(group, seqs, strict=True):
            if kept.done():
                continue  # its caller was cancelled
            if seq is None:
                hold = entry.hold
                kept.set_exception(
                    StaleAttempt(
                        f"Attempt {hold.attempt} of the task {hold.task_id!r} no longer counts.",
                        task_id=hold.task_id,
                        attempt=hold.attempt,
                    )
                )
            else:
                kept.set_result(seq)


def _tell(group: list[_Waiting], error: Exception) -> None:
    for _, kept in group:
        if not kept.done():
            kept.set_exception(error)
