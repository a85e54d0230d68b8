"""What a run tells while it goes on: written in order, fenced by its attempt, told live."""

import asyncio
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec

from domain.model.tasks import EventKind, Hold, NewEvent, StaleAttempt, TaskProgress
from domain.ports.signals import Signals
from domain.ports.storage import StorageUnavailable, Transaction, Transactions
from domain.tasks import topics

logger = logging.getLogger(__name__)

COALESCE_S = 0.2
# Text and progress become rows this often at most; live listeners get every piece at once.


class Recorder:
    """Records one attempt's events, in spite of a store that pauses.

    What was done is known here alone until it is recorded: a call's answer that were lost with
    the store's failure would make the call one of unknown effect.
    """

    def __init__(
        self,
        hold: Hold,
        transactions: Transactions,
        signals: Signals,
        tries: int = 10,
        pause: timedelta = timedelta(seconds=1),
    ) -> None:
        self.hold = hold
        self._transactions = transactions
        self._signals = signals
        self._tries = tries
        self._pause_s = pause.total_seconds()
        self._seq: int | None = None
        self._topic = topics.of_task(hold.task_id)
        self._text = ""
        self._offset = 0
        self._progress: TaskProgress | None = None
        self._turns = asyncio.Lock()
        self._flusher: asyncio.Task[None] | None = None

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
            pending, text, progress = self.pending()
            if not pending and not events:
                return
            await self._insist((*pending, *events))
            self.written(text, progress)
        self._signals.publish(self._topic, {})

    async def _insist(self, events: tuple[NewEvent, ...]) -> None:
        for tries_left in reversed(range(self._tries)):
            try:
                await self._write(events, again=tries_left < self._tries - 1)
            except StorageUnavailable as failure:
                if not tries_left:
                    raise
                logger.warning("task %s: not recorded yet: %s", self.hold.task_id, failure.message)
                await asyncio.sleep(self._pause_s)
            else:
                return

    async def _write(self, events: tuple[NewEvent, ...], *, again: bool) -> None:
        async with self._transactions.begin() as transaction:
            seq = await self._written_before(transaction, len(events)) if again else None
            if seq is None:
                seq = await transaction.queue.record(self.hold, events)
        # Only now: the answer to this try may be lost too.
        self._seq = seq

    async def _written_before(self, transaction: Transaction, count: int) -> int | None:
        """The `seq` of the last event where a try succeeded that failed only in telling so."""
        if self._seq is None:
            return None
        # Nobody but this attempt writes: what is there now is what the try did.
        kept = await transaction.tasks.events(self.hold.task_id, self._seq, count)
        return kept[-1].seq if kept and kept[-1].attempt == self.hold.attempt else None

    def pending(self) -> tuple[tuple[NewEvent, ...], str, TaskProgress | None]:
        """Events not yet written, with what `written` must be told once they are."""
        events = []
        if self._text:
            data = {"text": self._text, "offset": self._offset}
            events.append(NewEvent(kind=EventKind.TEXT, data=data))
        if self._progress is not None:
            data_of: Mapping[str, Any] = msgspec.to_builtins(self._progress)
            events.append(NewEvent(kind=EventKind.PROGRESS, data=data_of))
        return tuple(events), self._text, self._progress

    def written(self, text: str, progress: TaskProgress | None) -> None:
        """What `pending` gave is in the store."""
        self._text = self._text[len(text) :]
        self._offset += len(text)
        if self._progress is progress:
            self._progress = None

    async def close(self) -> None:
        """Stop writing on its own; what is pending stays for `finish`."""
        if self._flusher is not None:
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
