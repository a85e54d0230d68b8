"""A worker: claims due tasks, keeps their leases, carries them out, hands back what it must."""

import asyncio
import logging
from datetime import timedelta

from domain.model.tasks import (
    Task,
    TaskId,
    WorkerId,
)
from domain.ports.signals import Signals
from domain.ports.storage import StorageUnavailable, Transaction, Transactions
from domain.tasks import topics
from domain.tasks.carrier import Carrier, Held, Why, WorkerLimits

logger = logging.getLogger(__name__)


class Worker:
    """Carries tasks out for as long as it runs."""

    def __init__(
        self,
        worker_id: WorkerId,
        transactions: Transactions,
        signals: Signals,
        carrier: Carrier,
        limits: WorkerLimits,
    ) -> None:
        self.worker_id = worker_id
        self._transactions = transactions
        self._signals = signals
        self._carrier = carrier
        self._limits = limits
        self._held: dict[TaskId, Held] = {}
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

    async def claim_now(self, transaction: Transaction, task_id: TaskId) -> Task:
        """Claim one task within the caller's transaction; `adopt` it once that is committed."""
        lease = self._limits.lease
        (task,) = await transaction.queue.claim(self.worker_id, lease, 1, task_id)
        return task

    def adopt(self, task: Task) -> None:
        """Carry out a task that this worker has claimed."""
        held = Held(task)
        if self._draining:
            held.end(Why.DRAINED)
        self._held[task.task_id] = held
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
            del self._held[held.task.task_id]
            self._signals.publish(topics.WAKE, {})
            self._signals.publish(topics.of_task(held.task.task_id), {})

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            self._claiming = group.create_task(self._claim_on_and_on())
            group.create_task(self._keep_leases())
            group.create_task(self._hear_cancels())

    async def _claim_on_and_on(self) -> None:
        async with self._signals.subscribe(topics.WAKE) as wake:
            while True:
                if not await self._claim():
                    await wake.next(self._limits.poll.total_seconds())

    async def _claim(self) -> int:
        free = self._limits.concurrency - len(self._held)
        if free <= 0:
            return 0
        try:
            async with self._transactions.begin() as transaction:
                lease = self._limits.lease
                tasks = await transaction.queue.claim(self.worker_id, lease, free)
        except StorageUnavailable as failure:
            logger.warning("no tasks claimed: %s", failure.message)
            return 0
        for task in tasks:
            self.adopt(task)
        return len(tasks)

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(self._limits.heartbeat.total_seconds())
            held = {entry.hold: entry for entry in self._held.values()}
            if not held:
                continue
            try:
                async with self._transactions.begin() as transaction:
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
                held = self._held.get(hint["task_id"]) if hint else None
                if held is not None:
                    held.end(Why.CANCELLED)


def _log_break(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.error("%s broke", task.get_name(), exc_info=task.exception())
