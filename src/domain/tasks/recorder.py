"""What a run tells while it goes on: written in order, fenced by its attempt, told live."""

import asyncio
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec

from domain.model.tasks import EventKind, Hold, NewEvent, StaleAttempt, Task, TaskProgress
from domain.ports.signals import Signals
from domain.ports.storage import StorageUnavailable, Transactions
from domain.ports.tasks import Entry
from domain.tasks import topics
from domain.tasks.group import GroupWriter

logger = logging.getLogger(__name__)

COALESCE_S = 0.2
# Text and progress become rows this often at most; live listeners get every piece at once.


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How often a write is tried that the store did not take, and how long it rests between."""

    tries: int
    pause: timedelta


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """Events not yet written, and what they were made of."""

    events: tuple[NewEvent, ...]
    held_back: int
    text: str
    progress: TaskProgress | None


class Recorder:
    """Records one attempt's events, in spite of a store that pauses.

    What was done is known here alone until it is recorded: a call's answer that were lost with
    the store's failure would make the call one of unknown effect.
    """

    def __init__(
        self,
        task: Task,
        transactions: Transactions,
        writer: GroupWriter,
        signals: Signals,
        patience: Patience,
    ) -> None:
        self.hold = Hold(task_id=task.task_id, attempt=task.attempt)
        self._transactions = transactions
        self._writer = writer
        self._signals = signals
        self._patience = patience
        self._seq = task.last_seq
        self._topic = topics.of_task(task.task_id)
        self._held_back: tuple[NewEvent, ...] = ()
        self._text = ""
        self._offset = 0
        self._progress: TaskProgress | None = None
        self._turns = asyncio.Lock()
        self._flusher: asyncio.Task[None] | None = None

    def hold_back(self, event: NewEvent) -> None:
        """Write an event with what comes next: one transaction less."""
        self._held_back = (*self._held_back, event)

    def text(self, piece: str) -> None:
        """Tell a piece of text live and write it soon."""
        at = self._offset + len(self._text)
        self._text += piece
        live = {"text": piece, "offset": at, "attempt": self.hold.attempt}
        self._signals.publish(self._topic, live)
        self._flush_soon()

    def progress(self, progress: TaskProgress) -> None:
        """Write how far the work is, soon; of many only the last."""
        self._progress = progress
        self._flush_soon()

    async def record(self, *events: NewEvent) -> None:
        """Write events now, after all that was told before.

        Raises StaleAttempt, and StorageUnavailable once the store has failed for too long.
        """
        async with self._turns:
            pending = self.pending()
            if not pending.events and not events:
                return
            await self._insist((*pending.events, *events))
            self._written(pending)
        self._signals.publish(self._topic, {})

    async def _insist(self, events: tuple[NewEvent, ...]) -> None:
        tries = self._patience.tries
        for tries_left in reversed(range(tries)):
            try:
                if tries_left == tries - 1 or not await self._written_before(len(events)):
                    self._seq = await self._writer.write(Entry(hold=self.hold, events=events))
            except StorageUnavailable as failure:
                if not tries_left:
                    raise
                logger.warning("task %s: not recorded yet: %s", self.hold.task_id, failure.message)
                await asyncio.sleep(self._patience.pause.total_seconds())
            else:
                return

    async def _written_before(self, count: int) -> bool:
        """Whether a try succeeded that failed only in telling so."""
        async with self._transactions.read() as transaction:
            # Nobody but this attempt writes: what is there now is what the try did.
            kept = await transaction.tasks.events(self.hold.task_id, self._seq, count)
        if not kept or kept[-1].attempt != self.hold.attempt:
            return False
        self._seq = kept[-1].seq
        return True

    def pending(self) -> Pending:
        """What is not written yet."""
        events = list(self._held_back)
        if self._text:
            data = {"text": self._text, "offset": self._offset}
            events.append(NewEvent(kind=EventKind.TEXT, data=data))
        if self._progress is not None:
            data_of: Mapping[str, Any] = msgspec.to_builtins(self._progress)
            events.append(NewEvent(kind=EventKind.PROGRESS, data=data_of))
        return Pending(
            events=tuple(events),
            held_back=len(self._held_back),
            text=self._text,
            progress=self._progress,
        )

    def _written(self, pending: Pending) -> None:
        """It is in the store; more may have come meanwhile."""
        self._held_back = self._held_back[pending.held_back :]
        self._text = self._text[len(pending.text) :]
        self._offset += len(pending.text)
        if self._progress is pending.progress:
            self._progress = None

    async def close(self) -> None:
        """Stop writing on its own; what is pending stays for `finish`."""
        if self._flusher is not None:
            async with self._turns:  # a write that is cut off may be done, and would be done again
                self._flusher.cancel()
            await asyncio.wait({self._flusher})

    def _flush_soon(self) -> None:
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())

    async def _flush(self) -> None:
        await asyncio.sleep(COALESCE_S)
        try:
            await self.record()
        except StaleAttempt:
            return  # the run learns it at its next heartbeat or record
        except StorageUnavailable as failure:
            logger.warning("task %s: text is not kept: %s", self.hold.task_id, failure.message)
