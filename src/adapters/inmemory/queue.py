"""Tasks as workers see them, kept in memory."""

import heapq
from datetime import datetime, timedelta
from typing import Any

import msgspec

from adapters.inmemory.events import put
from adapters.inmemory.state import Rows, own
from domain.model.tasks import (
    EventKind,
    Hold,
    NewEvent,
    Outcome,
    StaleAttempt,
    Task,
    TaskId,
    TaskProgress,
    TaskStatus,
    WorkerId,
)
from domain.ports.tasks import Pulse


class MemoryQueue:
    """The queue within one transaction."""

    def __init__(self, rows: Rows) -> None:
        self._state = rows.state
        self._clock = rows.clock

    async def claim(
        self, worker: WorkerId, lease: timedelta, limit: int, only: TaskId | None = None
    ) -> tuple[Task, ...]:
        now = self._clock.now()
        due = (
            task
            for task in self._state.tasks.values()
            if only in {None, task.task_id} and _is_due(task, now)
        )
        chosen = heapq.nsmallest(limit, due, lambda t: (-t.priority, t.created_at, t.task_id))
        return tuple(
            self._change(
                task,
                status=TaskStatus.RUNNING,
                attempt=task.attempt + 1,
                started_at=task.started_at or now,
                worker=worker,
                lease_until=now + lease,
            )
            for task in chosen
        )

    async def heartbeat(self, worker: WorkerId, lease: timedelta, holds: tuple[Hold, ...]) -> Pulse:
        until = self._clock.now() + lease
        lost: list[Hold] = []
        cancelled: list[Hold] = []
        for hold in holds:
            task = self._running(hold)
            if task is None or task.worker != worker:
                lost.append(hold)
            elif self._change(task, lease_until=until).cancel_requested_at is not None:
                cancelled.append(hold)
        return Pulse(lost=tuple(lost), cancelled=tuple(cancelled))

    async def record(self, hold: Hold, events: tuple[NewEvent, ...]) -> int:
        task = self._held(hold)
        reports = [event.data for event in events if event.kind is EventKind.PROGRESS]
        if reports:
            self._change(task, progress=msgspec.convert(reports[-1], TaskProgress))
        return put(self._state, task, events, self._clock.now())

    async def finish(self, hold: Hold, outcome: Outcome) -> Task:
        return self._change(
            self._held(hold),
            status=outcome.status,
            result=outcome.result,
            error=outcome.error,
            finished_at=self._clock.now(),
            lease_until=None,
        )

    async def requeue(self, hold: Hold, delay: timedelta, *, counted: bool) -> Task:
        task = self._held(hold)
        return self._change(
            task,
            status=TaskStatus.QUEUED,
            run_at=self._clock.now() + delay,
            max_attempts=task.max_attempts if counted else task.max_attempts + 1,
            worker=None,
            lease_until=None,
        )

    async def abandon(self, worker: WorkerId) -> int:
        now = self._clock.now()
        held = [
            task
            for task in self._state.tasks.values()
            if task.status is TaskStatus.RUNNING
            and task.worker == worker
            and not _is_due(task, now)
        ]
        for task in held:
            self._change(task, lease_until=now)
        return len(held)

    def _change(self, task: Task, **changes: Any) -> Task:
        changed = own(msgspec.structs.replace(task, **changes))
        self._state.tasks[task.task_id] = changed
        return own(changed)

    def _running(self, hold: Hold) -> Task | None:
        task = self._state.tasks.get(hold.task_id)
        if task is None or task.status is not TaskStatus.RUNNING or task.attempt != hold.attempt:
            return None
        return task

    def _held(self, hold: Hold) -> Task:
        task = self._running(hold)
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
