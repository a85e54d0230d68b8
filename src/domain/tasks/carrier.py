"""Carrying one claimed task to its end, to its next attempt, or back to the queue."""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from typing import Any

import msgspec

from domain.errors import Failure, Unavailable
from domain.model.tasks import (
    AgentPayload,
    EventKind,
    Hold,
    NewEvent,
    OnIndeterminate,
    Outcome,
    StaleAttempt,
    Task,
    TaskError,
    TaskStatus,
)
from domain.ports.signals import Signals
from domain.ports.storage import StorageUnavailable, Transactions
from domain.ports.system import Chance
from domain.tasks.endings import Again, Ask, Ending, Endings, HandBack
from domain.tasks.group import GroupWriter
from domain.tasks.recorder import Patience, Recorder
from domain.tasks.runs import (
    Finish,
    Indeterminate,
    RunOf,
    all_events,
    failed,
    indeterminate,
)
from domain.tasks.steps import finished_steps

logger = logging.getLogger(__name__)


class WorkerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How a worker works. A cancel is seen within `heartbeat` and done within `cancel_grace`.

    `concurrency` bounds the runs; as many tasks again may have run and wait for their end to be
    written.
    """

    concurrency: int = 16
    lease: timedelta = timedelta(seconds=10)
    heartbeat: timedelta = timedelta(seconds=1)
    poll: timedelta = timedelta(seconds=1)
    cancel_grace: timedelta = timedelta(seconds=1)
    finish_tries: int = 10


class Why(StrEnum):
    """Why a run was ended from outside."""

    CANCELLED = "cancelled"
    LOST = "lost"
    DRAINED = "drained"


class Held:
    """A task in this worker's hands."""

    def __init__(self, task: Task, freed: Callable[[], None]) -> None:
        self.task = task
        self.runs = True
        self._freed = freed
        self.hold = Hold(task_id=task.task_id, attempt=task.attempt)
        self.why: Why | None = None
        self.handed_back = False
        loop = asyncio.get_running_loop()
        self.stop: asyncio.Future[None] = loop.create_future()
        self._since = loop.time()

    @property
    def for_s(self) -> float:
        """Seconds since it was taken in hand."""
        return asyncio.get_running_loop().time() - self._since

    def ran(self) -> None:
        """Its run is over, and only its end has to be written."""
        self.runs = False
        self._freed()

    def end(self, why: Why) -> None:
        """End its run; the first reason counts."""
        if self.why is None:
            self.why = why
            self.stop.set_result(None)


class Carrier:
    """Carries claimed tasks out, each by the run of its payload's type."""

    def __init__(
        self,
        transactions: Transactions,
        signals: Signals,
        runs: RunOf,
        chance: Chance,
        limits: WorkerLimits,
    ) -> None:
        self._transactions = transactions
        self._signals = signals
        self._runs = runs
        self._limits = limits
        self._patience = Patience(tries=limits.finish_tries, pause=limits.heartbeat)
        self._writer = GroupWriter(transactions)
        self._endings = Endings(transactions, self._writer, chance, self._patience)

    async def carry(self, held: Held) -> None:
        """Return when the task has ended or is another's."""
        recorder = Recorder(
            held.task, self._transactions, self._writer, self._signals, self._patience
        )
        try:
            ending = await self._attempt(held, recorder)
            held.ran()
            await recorder.close()
            if ending is not None:
                await self._endings.write(held.task, recorder, ending)
                held.handed_back = isinstance(ending, HandBack)
        except StaleAttempt:
            logger.warning("task %s: another attempt took over", held.task.task_id)
        except StorageUnavailable as failure:
            # Its lease passes, and another attempt sees what was recorded.
            logger.warning("task %s: left as it is: %s", held.task.task_id, failure.message)
        finally:
            await recorder.close()

    async def _attempt(self, held: Held, recorder: Recorder) -> Ending | None:
        """Carry it out; None where the task is not this attempt's to end (any more)."""
        task = held.task
        if task.cancel_requested_at is not None:
            return await self._cancelled(task)
        if task.attempt > task.max_attempts:
            return failed("worker-lost", f"Its worker was lost {task.max_attempts} times.")
        if self._is_late(held):
            return _too_late()
        await _tell_start(task, recorder)
        if self._is_late(held):
            return _too_late()  # the store took its time
        run = asyncio.ensure_future(self._runs[type(task.payload)](task, recorder))
        timeout = self._left_s(held)
        either: set[asyncio.Future[Any]] = {run, held.stop}
        await asyncio.wait(either, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if not run.done():
            run.cancel()
            await asyncio.wait({run}, timeout=self._limits.cancel_grace.total_seconds())
            return await self._ended_early(held)
        return await self._settle(task, run)

    async def _ended_early(self, held: Held) -> Ending | None:
        if held.why is Why.CANCELLED:
            return await self._cancelled(held.task)
        if held.why is Why.DRAINED:
            return HandBack()
        if held.why is None:
            return failed("deadline", "Its deadline passed while it was carried out.")
        return None

    async def _cancelled(self, task: Task) -> Finish:
        """What a cancelled turn had done so far stays in its conversation."""
        seen = msgspec.structs.replace(task, attempt=max(task.attempt, 2))
        messages = finished_steps(await all_events(self._transactions, seen))
        error = TaskError(reason="cancelled", message="It was cancelled on request.")
        return Finish(outcome=Outcome(status=TaskStatus.CANCELLED, error=error), messages=messages)

    async def _settle(self, task: Task, run: "asyncio.Future[Finish]") -> Ending:
        """From the run's return or failure to what becomes of the task."""
        try:
            return run.result()
        except Indeterminate as unsure:
            if task.on_indeterminate is OnIndeterminate.ASK:
                return Ask(question=unsure.question)
            return indeterminate(unsure.question)
        except (StaleAttempt, StorageUnavailable):
            # Trying again now would repeat calls whose answers could not be recorded.
            raise
        except Failure as failure:
            last = task.attempt >= task.max_attempts or _somebody_waits(task)
            if isinstance(failure, Unavailable) and not last:
                return Again(why=failure.message, asked=failure.retry_after)
            return failed(failure.kind, failure.message)
        except Exception:
            logger.exception("task %s: its run broke", task.task_id)
            return failed("internal", "An internal error ended it; the log says more.")

    def _is_late(self, held: Held) -> bool:
        left_s = self._left_s(held)
        return left_s is not None and left_s <= 0

    def _left_s(self, held: Held) -> float | None:
        """Seconds until its deadline: by the store's clock at the claim, by ours since then."""
        task = held.task
        if task.deadline_at is None or task.lease_until is None:
            return None
        at_claim = task.deadline_at - (task.lease_until - self._limits.lease)
        return at_claim.total_seconds() - held.for_s


async def _tell_start(task: Task, recorder: Recorder) -> None:
    start = {"task_id": task.task_id, "attempt": task.attempt}
    if isinstance(task.payload, AgentPayload):
        # Its listeners wait for the first word, which may take the model some time.
        start |= {"agent": task.payload.agent, "conversation_id": task.conversation_id}
        await recorder.record(NewEvent(kind=EventKind.START, data=start))
    else:
        # A call is recorded at once, and the start with it.
        recorder.hold_back(NewEvent(kind=EventKind.START, data=start))


def _too_late() -> Finish:
    return failed("deadline", "Its deadline passed before it was carried out.")


def _somebody_waits(task: Task) -> bool:
    return isinstance(task.payload, AgentPayload) and task.payload.interactive
