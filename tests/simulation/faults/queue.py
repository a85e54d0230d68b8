"""Faults in the rules of the queue."""

from datetime import timedelta
from typing import Any

import msgspec

from adapters.inmemory import queue as queue_module
from adapters.inmemory.events import put
from adapters.inmemory.queue import MemoryQueue
from adapters.inmemory.tasks import MemoryTasks
from domain.model.tasks import EventKind, Hold, Task, TaskId, TaskStatus
from domain.ports.tasks import Pulse
from tests.simulation.faults.fault import Faults, Function

faults = Faults()


@faults("no-fence-on-record", "A stale attempt can record events.", "record", MemoryQueue)
def _(right: Function) -> Function:
    async def record(queue: Any, hold: Hold, events: Any) -> Any:
        row = queue._state.tasks[hold.task_id]
        if row.attempt == hold.attempt:
            return await right(queue, hold, events)
        return put(queue._state, row, events, queue._clock.now()).last_seq

    return record


@faults("no-fence-on-finish", "A stale attempt ends the later one's task.", "record", MemoryQueue)
def _(right: Function) -> Function:
    async def record(queue: Any, hold: Hold, events: Any) -> Any:
        row = queue._state.tasks[hold.task_id]
        is_end = events[-1].kind in {EventKind.DONE, EventKind.ERROR}
        if is_end and (row.status, row.attempt) != (TaskStatus.RUNNING, hold.attempt):
            queue._change(row, status=TaskStatus.RUNNING, attempt=hold.attempt)
        return await right(queue, hold, events)

    return record


@faults("uncounted-reclaim", "A reclaim is no new attempt.", "claim", MemoryQueue)
def _(right: Function) -> Function:
    async def claim(queue: Any, *args: Any, **named: Any) -> Any:
        before = dict(queue._state.tasks)
        claimed = await right(queue, *args, **named)
        return tuple(
            queue._change(task, attempt=task.attempt - 1)
            if before[task.task_id].status is TaskStatus.RUNNING
            else task
            for task in claimed
        )

    return claim


@faults("claim-of-held-tasks", "A claim takes tasks whose lease holds.", "_is_due", queue_module)
def _(right: Function) -> Function:
    def is_due(task: Task, now: Any) -> bool:
        held = task.status is TaskStatus.RUNNING
        return held or bool(right(task, now))

    return is_due


@faults("claim-before-its-time", "A claim forgets the delay.", "_is_due", queue_module)
def _(right: Function) -> Function:
    def is_due(task: Task, now: Any) -> bool:
        return task.status is TaskStatus.QUEUED or bool(right(task, now))

    return is_due


@faults("heartbeat-forgets-cancels", "No cancel comes back.", "heartbeat", MemoryQueue)
def _(right: Function) -> Function:
    async def heartbeat(queue: Any, *args: Any) -> Any:
        return msgspec.structs.replace(await right(queue, *args), cancelled=())

    return heartbeat


@faults(
    "heartbeat-renews-lost-leases",
    "A worker renews what another has claimed, and hears of no loss.",
    "heartbeat",
    MemoryQueue,
)
def _(right: Function) -> Function:
    async def heartbeat(queue: Any, worker: Any, lease: Any, holds: Any) -> Any:
        pulse: Pulse = await right(queue, worker, lease, holds)
        until = queue._clock.now() + lease
        for hold in pulse.lost:
            row = queue._state.tasks.get(hold.task_id)
            if row is not None and row.status is TaskStatus.RUNNING:
                queue._change(row, lease_until=until)
        return msgspec.structs.replace(pulse, lost=())

    return heartbeat


@faults("heartbeat-renews-nothing", "Leases pass under live workers.", "heartbeat", MemoryQueue)
def _(right: Function) -> Function:
    async def heartbeat(queue: Any, worker: Any, lease: Any, holds: Any) -> Any:
        before = dict(queue._state.tasks)
        pulse = await right(queue, worker, lease, holds)
        for hold in holds:
            if hold.task_id in before:
                queue._state.keep_task(before[hold.task_id])
        return pulse

    return heartbeat


@faults("hand-back-counted", "A drain costs the task an attempt.", "requeue", MemoryQueue)
def _(right: Function) -> Function:
    async def requeue(queue: Any, hold: Hold, delay: timedelta, **_: bool) -> Any:
        return await right(queue, hold, delay, counted=True)

    return requeue


@faults("abandon-of-everyone", "A restart frees what others hold.", "abandon", MemoryQueue)
def _(right: Function) -> Function:
    async def abandon(queue: Any, worker: Any) -> int:
        workers = {task.worker: None for task in queue._state.tasks.values()}
        return sum([await right(queue, each) for each in (*workers, worker)])

    return abandon


@faults("cancel-only-marks", "A task that waits is not ended.", "request_cancel", MemoryTasks)
def _(right: Function) -> Function:
    async def request_cancel(tasks: Any, task_id: TaskId) -> Any:
        row = tasks._state.tasks[task_id]
        if row.status is not TaskStatus.QUEUED:
            return await right(tasks, task_id)
        return tasks._keep(msgspec.structs.replace(row, cancel_requested_at=tasks._clock.now()))

    return request_cancel
