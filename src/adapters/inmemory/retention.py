"""Tasks as upkeep sees them, kept in memory."""

from datetime import datetime, timedelta
from itertools import islice

import msgspec

from adapters.inmemory.decisions import void
from adapters.inmemory.events import put
from adapters.inmemory.state import Rows, own
from domain.model.tasks import (
    FINISHED,
    OVERDUE,
    Task,
    last_event,
)


class MemoryRetention:
    """The retention of one transaction."""

    def __init__(self, rows: Rows) -> None:
        self._state = rows.state
        self._clock = rows.clock

    async def end_overdue(self, limit: int) -> tuple[Task, ...]:
        now = self._clock.now()
        overdue = [task for task in self._state.unfinished.values() if _is_overdue(task, now)]
        return tuple(self._end(task, now) for task in islice(overdue, limit))

    def _end(self, task: Task, now: datetime) -> Task:
        told = put(self._state, task, (last_event(task.task_id, OVERDUE),), now)
        void(self._state, task.task_id, now)
        ended = msgspec.structs.replace(
            told,
            status=OVERDUE.status,
            error=OVERDUE.error,
            finished_at=now,
            lease_until=None,
        )
        self._state.keep_task(ended)
        return own(ended)

    async def purge(self, older_than: timedelta, limit: int) -> int:
        before = self._clock.now() - older_than
        old = sorted(
            (task.finished_at, task.task_id)
            for task in self._state.tasks.values()
            if task.finished_at is not None and task.finished_at <= before
        )[:limit]
        gone = {task_id for _, task_id in old}
        for task_id in gone:
            del self._state.tasks[task_id]
            self._state.events.pop(task_id, None)
        for decision in [*self._state.decisions.values()]:
            if decision.task_id in gone:
                del self._state.decisions[decision.decision_id]
        return len(gone)


def _is_overdue(task: Task, now: datetime) -> bool:
    if task.status in FINISHED or task.deadline_at is None or task.deadline_at > now:
        return False
    return task.lease_until is None or task.lease_until <= now
