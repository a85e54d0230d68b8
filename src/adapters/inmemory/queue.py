"""Tasks as workers see them, kept in memory."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import msgspec

from adapters.inmemory.events import put
from adapters.inmemory.line import line_up, place_of
from adapters.inmemory.state import Rows, State, own
from domain.model.tasks import (
    EventKind,
    Hold,
    Lane,
    NewEvent,
    Outcome,
    StaleAttempt,
    Task,
    TaskId,
    TaskProgress,
    TaskStatus,
    WorkerId,
)
from domain.ports.tasks import UNCAPPED, Entry, Pulse


class MemoryQueue:
    """The queue within one transaction."""

    def __init__(self, rows: Rows) -> None:
        self._state = rows.state
        self._clock = rows.clock

    async def claim(
        self,
        worker: WorkerId,
        lease: timedelta,
        limit: int,
        only: TaskId | None = None,
        caps: Mapping[Lane, int] = UNCAPPED,
    ) -> tuple[Task, ...]:
        now = self._clock.now()
        line_up(self._state, now)
        due = [
            task
            for task in self._state.unfinished.values()
            if only in {None, task.task_id} and _is_due(task, now)
        ]
        due.sort(key=place_of)
        return tuple(
            self._change(
                task,
                status=TaskStatus.RUNNING,
                attempt=task.attempt + 1,
                started_at=task.started_at or now,
                worker=worker,
                lease_until=now + lease,
            )
            for task in islice(self._with_room(due, caps), limit)
        )

    def _with_room(self, due: Iterable[Task], caps: Mapping[Lane, int]) -> Iterator[Task]:
        """The tasks whose lanes can take one more, each counted as soon as it is given."""
        running = Counter(
            task.lane
            for task in self._state.unfinished.values()
            if task.status is TaskStatus.RUNNING
        )
        for task in due:
            if task.status is TaskStatus.QUEUED:
                if task.lane in caps and running[task.lane] >= caps[task.lane]:
                    continue
                running[task.lane] += 1
            yield task

    async def heartbeat(self, worker: WorkerId, lease: timedelta, holds: tuple[Hold, ...]) -> Pulse:
        until = self._clock.now() + lease
        lost: list[Hold] = []
        cancelled: list[Hold] = []
        for hold in holds:
            task = running(self._state, hold)
            if task is None or task.worker != worker:
                lost.append(hold)
            elif self._change(task, lease_until=until).cancel_requested_at is not None:
                cancelled.append(hold)
        return Pulse(lost=tuple(lost), cancelled=tuple(cancelled))

    async def record(self, hold: Hold, events: tuple[NewEvent, ...]) -> int:
        task = held(self._state, hold)
        reports = [event.data for event in events if event.kind is EventKind.PROGRESS]
        if reports:
            task = self._change(task, progress=msgspec.convert(reports[-1], TaskProgress))
        return put(self._state, task, events, self._clock.now()).last_seq

    async def write(self, entries: tuple[Entry, ...]) -> tuple[int | None, ...]:
        return tuple([await self._write(entry) for entry in entries])

    async def _write(self, entry: Entry) -> int | None:
        try:
            seq = await self.record(entry.hold, entry.events)
        except StaleAttempt:
            return None
        if entry.outcome is not None:
            await self.finish(entry.hold, entry.outcome)
        return seq

    async def finish(self, hold: Hold, outcome: Outcome) -> Task:
        return self._change(
            held(self._state, hold),
            status=outcome.status,
            result=outcome.result,
            error=outcome.error,
            finished_at=self._clock.now(),
            lease_until=None,
        )

    async def requeue(self, hold: Hold, delay: timedelta, *, counted: bool) -> Task:
        task = held(self._state, hold)
        return self._change(
            task,
            status=TaskStatus.QUEUED,
            turn=None if delay > timedelta() else task.turn,
            run_at=self._clock.now() + delay,
            max_attempts=task.max_attempts if counted else task.max_attempts + 1,
            worker=None,
            lease_until=None,
        )

    async def abandon(self, worker: WorkerId) -> int:
        now = self._clock.now()
        held = [
            task
            for task in self._state.unfinished.values()
            if task.status is TaskStatus.RUNNING
            and task.worker == worker
            and not _is_due(task, now)
        ]
        for task in held:
            self._change(task, lease_until=now)
        return len(held)

    def _change(self, task: Task, **changes: Any) -> Task:
        changed = own(msgspec.structs.replace(task, **changes))
        self._state.keep_task(changed)
        return own(changed)


def running(state: State, hold: Hold) -> Task | None:
    """The task if it runs at this attempt."""
    task = state.tasks.get(hold.task_id)
    if task is None or task.status is not TaskStatus.RUNNING or task.attempt != hold.attempt:
        return None
    return task


def held(state: State, hold: Hold) -> Task:
    """The same. Raises StaleAttempt."""
    task = running(state, hold)
    if task is None:
        raise StaleAttempt(
            f"Attempt {hold.attempt} of the task {hold.task_id!r} no longer counts.",
            task_id=hold.task_id,
            attempt=hold.attempt,
        )
    return task


def _is_due(task: Task, now: datetime) -> bool:
    if task.status is TaskStatus.QUEUED:
        return task.run_at <= now
    running = task.status is TaskStatus.RUNNING
    return running and task.lease_until is not None and task.lease_until <= now
