"""A task's events as a listener sees them: all that is stored, and live text in between."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

import msgspec

from domain.model.tasks import FINISHED, EventKind, TaskEvent, TaskId
from domain.ports.signals import Signals
from domain.ports.storage import Transactions
from domain.tasks import topics

POLL_S = 1.0
# Hints may be lost; the store is asked this often without one.
BATCH = 200
_LAST = frozenset({EventKind.DONE, EventKind.ERROR})


class StreamEvent(msgspec.Struct, frozen=True, kw_only=True):
    """`id` is the `seq` of the last stored event; `live` pieces will come again in a stored one.

    A TEXT event's data has `offset`: the count of characters of this attempt before it.
    """

    id: int
    kind: EventKind
    data: Mapping[str, Any]
    live: bool = False


class _Reader:
    """Knows how much of the running attempt's text the listener has."""

    def __init__(self, after: int) -> None:
        self.seq = after
        self._attempt = 0
        self._shown = 0

    def stored(self, event: TaskEvent) -> StreamEvent | None:
        """The event less what was shown live; None where nothing is left to show."""
        self.seq = event.seq
        self._enter(event.attempt)
        if event.kind is EventKind.STEP:
            return None
        data = event.data
        if event.kind is EventKind.TEXT:
            fresh = self._fresh(data["text"], data["offset"])
            if fresh is None:
                return None
            data = fresh
        return StreamEvent(id=event.seq, kind=event.kind, data=data)

    def live(self, hint: Mapping[str, Any]) -> StreamEvent | None:
        """A piece of text that goes on where the listener stands."""
        if "text" not in hint or hint["attempt"] < self._attempt:
            return None
        self._enter(hint["attempt"])
        if hint["offset"] > self._shown:
            return None
        data = self._fresh(hint["text"], hint["offset"])
        if data is None:
            return None
        return StreamEvent(id=self.seq, kind=EventKind.TEXT, data=data, live=True)

    def _enter(self, attempt: int) -> None:
        if attempt > self._attempt:
            self._attempt, self._shown = attempt, 0

    def _fresh(self, text: str, offset: int) -> Mapping[str, Any] | None:
        known = max(self._shown - offset, 0)
        self._shown = max(self._shown, offset + len(text))
        return {"text": text[known:], "offset": offset + known} if known < len(text) else None


async def follow(
    transactions: Transactions, signals: Signals, task_id: TaskId, after: int
) -> AsyncGenerator[StreamEvent, None]:
    """Events with an id above `after`, then those to come; ends with the task's last."""
    reader = _Reader(after)
    async with signals.subscribe(topics.of_task(task_id)) as subscription:
        while True:
            async with transactions.read() as transaction:
                task = await transaction.tasks.get(task_id)
                events = await transaction.tasks.events(task_id, reader.seq, BATCH)
            for event in events:
                shown = reader.stored(event)
                if shown is not None:
                    yield shown
                if event.kind in _LAST:
                    return
            if len(events) == BATCH:
                continue
            if task.status in FINISHED:
                return
            while (hint := await subscription.next(POLL_S)) and (piece := reader.live(hint)):
                yield piece
