"""How an attempt ends in the store: its task is finished, retried, asked about or handed back."""

import asyncio
import logging
from datetime import timedelta

import msgspec

from domain.model.conversations import MessageId
from domain.model.decisions import DecisionId, DecisionKind, Question
from domain.model.tasks import (
    EventKind,
    NewEvent,
    Task,
    TaskStatus,
    last_event,
)
from domain.ports.decisions import NewDecision
from domain.ports.storage import StorageUnavailable, Transaction, Transactions
from domain.ports.system import Chance
from domain.ports.tasks import Entry
from domain.tasks.group import GroupWriter
from domain.tasks.recorder import Patience, Recorder
from domain.tasks.runs import Finish, failed

logger = logging.getLogger(__name__)

SPREAD = 0.25
# A retry comes up to a quarter later than it could, so that many do not come in one moment.


class Again(msgspec.Struct, frozen=True, kw_only=True):
    """The attempt failed in a way that may pass; `asked` is how long its failure wants to wait."""

    why: str
    asked: timedelta | None = None


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """The task waits for a person's decision."""

    question: Question


class HandBack(msgspec.Struct, frozen=True):
    """Another worker is to carry it out, as if this one had never begun."""


Ending = Finish | Again | Ask | HandBack


class _TooLate(Exception):
    """The next attempt would begin after the deadline."""


class _Unwanted(Exception):
    """A cancel came before the question."""


class Endings:
    """Writes an attempt's end, in spite of a store that pauses or does not tell that it did."""

    def __init__(
        self,
        transactions: Transactions,
        writer: GroupWriter,
        chance: Chance,
        patience: Patience,
    ) -> None:
        self._transactions = transactions
        self._writer = writer
        self._chance = chance
        self._patience = patience

    async def write(self, task: Task, recorder: Recorder, ending: Ending) -> None:
        """Write it with all that the recorder, closed by now, still has.

        Raises StaleAttempt, and StorageUnavailable once the store has failed for too long.
        """
        # Who hands back is in a hurry; its lease passes soon all the same.
        tries = 1 if isinstance(ending, HandBack) else self._patience.tries
        for tries_left in reversed(range(tries)):
            try:
                if tries_left < tries - 1 and await self._kept(recorder):
                    return
                await self._write(task, recorder, ending)
            except StorageUnavailable as failure:
                logger.warning("task %s: not ended: %s", task.task_id, failure.message)
                if not tries_left:
                    raise
                await asyncio.sleep(self._patience.pause.total_seconds())
            else:
                return

    async def _kept(self, recorder: Recorder) -> bool:
        """Whether a try that failed did so only in telling.

        Nobody else ends this attempt without a deadline's or another attempt's doing, and then
        there is nothing left to write either.
        """
        async with self._transactions.read() as transaction:
            task = await transaction.tasks.get(recorder.hold.task_id)
        return task.attempt == recorder.hold.attempt and task.status is not TaskStatus.RUNNING

    async def _write(self, task: Task, recorder: Recorder, ending: Ending) -> None:
        if isinstance(ending, Finish) and not (ending.messages and task.conversation_id):
            last = last_event(task.task_id, ending.outcome)
            events = (*recorder.pending().events, last)
            entry = Entry(hold=recorder.hold, events=events, outcome=ending.outcome)
            await self._writer.write(entry)
            return
        try:
            async with self._transactions.begin() as transaction:
                match ending:
                    case Finish():
                        await self._finish(transaction, task, recorder, ending)
                    case Again():
                        await self._retry(transaction, task, recorder, ending)
                    case Ask():
                        await self._ask(transaction, recorder, ending)
                    case HandBack():
                        await _record(transaction, recorder)
                        await _hand_back(transaction, recorder)
        except _TooLate:
            assert isinstance(ending, Again)  # noqa: S101 - only a retry can be too late
            message = f"Its deadline comes before the next attempt. The last failed: {ending.why}"
            await self._write(task, recorder, failed("deadline", message))
        except _Unwanted:
            # Whoever claims it next sees the cancel before all else.
            await self._write(task, recorder, HandBack())

    async def _finish(
        self, transaction: Transaction, task: Task, recorder: Recorder, finish: Finish
    ) -> None:
        await _record(transaction, recorder, last_event(task.task_id, finish.outcome))
        assert task.conversation_id is not None  # noqa: S101 - else the end is written in a group
        messages = tuple((MessageId(self._chance.new_id()), message) for message in finish.messages)
        await transaction.conversations.append(task.conversation_id, task.task_id, messages)
        await transaction.queue.finish(recorder.hold, finish.outcome)

    async def _retry(
        self, transaction: Transaction, task: Task, recorder: Recorder, again: Again
    ) -> None:
        delay = max(task.retry.delay(task.attempt), again.asked or timedelta())
        delay *= 1 + SPREAD * self._chance.fraction()
        data = {"reason": again.why, "delay_s": round(delay.total_seconds(), 3)}
        await _record(transaction, recorder, NewEvent(kind=EventKind.RETRY, data=data))
        queued = await transaction.queue.requeue(recorder.hold, delay, counted=True)
        if queued.deadline_at is not None and queued.run_at >= queued.deadline_at:
            raise _TooLate

    async def _ask(self, transaction: Transaction, recorder: Recorder, ask: Ask) -> None:
        decision_id = DecisionId(self._chance.new_id())
        kind = DecisionKind.INDETERMINATE
        asked = {
            "decision_id": decision_id,
            "state": "asked",
            "kind": kind.value,
            "question": msgspec.to_builtins(ask.question),
        }
        await _record(transaction, recorder, NewEvent(kind=EventKind.DECISION, data=asked))
        new = NewDecision(decision_id=decision_id, kind=kind, question=ask.question)
        await transaction.decisions.ask(recorder.hold, new)
        waiting = await transaction.tasks.get(recorder.hold.task_id)
        if waiting.cancel_requested_at is not None:
            raise _Unwanted


async def _record(transaction: Transaction, recorder: Recorder, *events: NewEvent) -> None:
    told = (*recorder.pending().events, *events)
    if told:
        await transaction.queue.record(recorder.hold, told)


async def _hand_back(transaction: Transaction, recorder: Recorder) -> None:
    await transaction.queue.requeue(recorder.hold, timedelta(), counted=False)
