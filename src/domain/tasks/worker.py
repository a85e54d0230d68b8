"""A worker: claims due tasks, keeps their leases, carries them out, hands back what it must."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta

from domain.model.tasks import (
    Hold,
    Lane,
    Task,
    TaskId,
    WorkerId,
)
from domain.ports.signals import Signals
from domain.ports.storage import StorageUnavailable, Transaction, Transactions
from domain.ports.tasks import UNCAPPED
from domain.tasks import topics
from domain.tasks.carrier import Carrier, Held, Why, WorkerLimits

logger = logging.getLogger(__name__)

Caps = Callable[[], Mapping[Lane, int]]
# How many tasks of a lane may run at once, as it is configured now; the same in every process.


class Worker:
    """Carries tasks out for as long as it runs."""

    def __init__(  # noqa: PLR0913, PLR0917 - made in one place
        self,
        worker_id: WorkerId,
        transactions: Transactions,
        signals: Signals,
        carrier: Carrier,
        limits: WorkerLimits,
        caps: Caps = lambda: UNCAPPED,
    ) -> None:
        self.worker_id = worker_id
        self._transactions = transactions
        self._signals = signals
        self._carrier = carrier
        self._limits = limits
        self._caps = caps
        self._held: dict[Hold, Held] = {}
        self._due = asyncio.Event()
        self._carrying: set[asyncio.Task[None]] = set()
        self._main: asyncio.Task[None] | None = None
        self._claiming: asyncio.Task[None] | None = None
        self._draining = False
        self.taken = self.handed_back = 0
        # How many tasks it has had in hand, and how many of them are the queue's again.

    @property
    def running(self) -> bool:
        """Whether it claims and keeps its leases."""
        return self._main is not None and not self._main.done()

    @property
    def held(self) -> int:
        """How many tasks it carries out now."""
        return len(self._held)

    async def start(self) -> None:
        """Free what an earlier life of this worker held, then work until `stop`."""
        async with self._transactions.begin() as transaction:
            freed = await transaction.queue.abandon(self.worker_id)
        if freed:
            logger.info("%d tasks of an earlier life are due again", freed)
        self._main = asyncio.create_task(self._work(), name="worker")
        self._main.add_done_callback(_log_break)

    async def ended(self) -> None:
        """Return when it works no more: it was stopped, or broke and has said so in the log."""
        if self._main is not None:
            await asyncio.wait({self._main})

    async def stop(self, drain: timedelta) -> None:
        """Claim no more, wait up to `drain` for what runs, hand back the rest; may be repeated."""
        if self._claiming is not None:
            self._claiming.cancel()
            await asyncio.wait({self._claiming})
        if self._carrying:
            await asyncio.wait(self._carrying, timeout=drain.total_seconds())
        self._draining = True
        for held in self._held.values():
            held.end(Why.DRAINED)
        while self._carrying:
            await asyncio.wait(self._carrying)
        if self._main is not None:
            self._main.cancel()
            await asyncio.wait({self._main})

    async def claim_now(self, transaction: Transaction, task: Task) -> Task | None:
        """Claim a task within the caller's transaction; `adopt` it once that is committed.

        None where its lane is full: it stays in line, and any worker takes it later.
        """
        cap = self._caps().get(task.lane)
        caps = UNCAPPED if cap is None else {task.lane: cap}
        claimed = await transaction.queue.claim(
            self.worker_id, self._limits.lease, 1, task.task_id, caps
        )
        return claimed[0] if claimed else None

    def adopt(self, task: Task) -> None:
        """Carry out a task that this worker has claimed."""
        held = Held(task, freed=self._due.set)
        for earlier in self._of_task(task.task_id):
            # This worker stood still past its lease, and its own attempt is the one that lost it.
            earlier.end(Why.LOST)
        if self._draining:
            held.end(Why.DRAINED)
        self._held[held.hold] = held
        self.taken += 1
        carrying = asyncio.create_task(self._carry(held), name=f"task {task.task_id}")
        self._carrying.add(carrying)
        carrying.add_done_callback(self._carrying.discard)
        carrying.add_done_callback(_log_break)

    async def _carry(self, held: Held) -> None:
        try:
            await self._carrier.carry(held)
        finally:
            self.handed_back += held.handed_back
            del self._held[held.hold]
            self._due.set()
            if held.handed_back or held.task.lane in self._caps():
                # Others can take up what is handed back, or what a cap kept from them. Any other
                # end would send every worker of the system to the store for nothing.
                self._signals.publish(topics.WAKE, {})
            self._signals.publish(topics.of_task(held.task.task_id), {})

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            self._claiming = group.create_task(self._claim_on_and_on())
            group.create_task(self._hear_wakes())
            group.create_task(self._keep_leases())
            group.create_task(self._hear_cancels())

    async def _claim_on_and_on(self) -> None:
        while True:
            self._due.clear()
            if not await self._claim():
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._limits.poll.total_seconds()):
                        await self._due.wait()

    async def _hear_wakes(self) -> None:
        async with self._signals.subscribe(topics.WAKE) as wakes:
            while True:
                if await wakes.next(self._limits.poll.total_seconds()) is not None:
                    self._due.set()

    async def _claim(self) -> int:
        free = self._free
        if free <= 0:
            return 0
        try:
            async with self._transactions.single() as transaction:
                lease = self._limits.lease
                tasks = await transaction.queue.claim(
                    self.worker_id, lease, free, caps=self._caps()
                )
        except StorageUnavailable as failure:
            logger.warning("no tasks claimed: %s", failure.message)
            return 0
        for task in tasks:
            self.adopt(task)
        return len(tasks)

    @property
    def _free(self) -> int:
        """How many tasks to claim: the next ones run while the ends of the last are written."""
        most = self._limits.concurrency
        runs = sum(held.runs for held in self._held.values())
        return min(most - runs, 2 * most - len(self._held))

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(self._limits.heartbeat.total_seconds())
            held = dict(self._held)
            if not held:
                continue
            try:
                async with self._transactions.single() as transaction:
                    pulse = await transaction.queue.heartbeat(
                        self.worker_id, self._limits.lease, tuple(held)
                    )
            except StorageUnavailable as failure:
                logger.warning("leases not renewed: %s", failure.message)
                continue
            for hold in pulse.lost:
                held[hold].end(Why.LOST)
            for hold in pulse.cancelled:
                held[hold].end(Why.CANCELLED)

    async def _hear_cancels(self) -> None:
        async with self._signals.subscribe(topics.CANCEL) as cancels:
            while True:
                hint = await cancels.next(self._limits.poll.total_seconds())
                for held in self._of_task(hint["task_id"]) if hint else ():
                    held.end(Why.CANCELLED)

    def _of_task(self, task_id: TaskId) -> tuple[Held, ...]:
        return tuple(held for hold, held in self._held.items() if hold.task_id == task_id)


def _log_break(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.error("%s broke", task.get_name(), exc_info=task.exception())
