"""Tasks as rows: as their owners see them, and as workers do."""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Protocol

import msgspec

from domain.model.callers import CallerId
from domain.model.conversations import ConversationId
from domain.model.pages import Page, PageQuery
from domain.model.retries import DEFAULT_RETRY, RetryPolicy
from domain.model.tasks import (
    Fire,
    Hold,
    Lane,
    NewEvent,
    OnIndeterminate,
    Outcome,
    Payload,
    Task,
    TaskEvent,
    TaskId,
    TaskStatus,
    WorkerId,
)

UNCAPPED: Mapping[Lane, int] = MappingProxyType({})
MOST_COUNTED = 1000
# A place in line beyond this is as good as "far".


class NewTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task to keep. `delay` and `deadline` count from the store's now."""

    task_id: TaskId
    payload: Payload
    owner: CallerId
    lane: Lane
    priority: int = 0
    conversation_id: ConversationId | None = None
    max_attempts: int = 3
    retry: RetryPolicy = DEFAULT_RETRY
    on_indeterminate: OnIndeterminate = OnIndeterminate.FAIL
    delay: timedelta = timedelta()
    deadline: timedelta | None = None
    fire: Fire | None = None


class TaskQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which tasks to list; None does not narrow."""

    owner: CallerId | None = None
    status: TaskStatus | None = None
    conversation_id: ConversationId | None = None
    page: PageQuery = PageQuery()


class TaskStore(Protocol):
    """Tasks as their owners see them."""

    async def add(self, new: NewTask) -> Task:
        """Keep a queued task; without a delay it is in line at once: see TaskQueue.

        Returns it with its `queue_position`: see `place`.

        Raises ConversationBusy where another task of the conversation has not ended, FiredAlready
        where its schedule's fire brought a task before.
        """
        ...

    async def get(self, task_id: TaskId) -> Task:
        """Raises TaskNotFound."""
        ...

    async def list(self, query: TaskQuery) -> Page[Task]:
        """Newest first; the cursor is the id."""
        ...

    async def request_cancel(self, task_id: TaskId) -> Task:
        """Cancel it: at once where no worker holds it, else by a mark its worker will see.

        May be repeated. Raises TaskNotFound, TaskFinished.
        """
        ...

    async def events(self, task_id: TaskId, after: int, limit: int) -> tuple[TaskEvent, ...]:
        """Events with a `seq` above `after`, in order."""
        ...

    async def counts(self) -> Mapping[TaskStatus, int]:
        """How many tasks stand in each status; statuses without one are absent."""
        ...

    async def place(self, task: Task) -> int | None:
        """The place of a queued task in line: 1 for the next, MOST_COUNTED for that and beyond.

        None for one that is not in line yet. Caps are not looked at.
        """
        ...


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt writes at once: events, and with an outcome its end."""

    hold: Hold
    events: tuple[NewEvent, ...] = ()
    outcome: Outcome | None = None


class Pulse(msgspec.Struct, frozen=True, kw_only=True):
    """What a heartbeat brings back."""

    lost: tuple[Hold, ...] = ()
    cancelled: tuple[Hold, ...] = ()


class TaskQueue(Protocol):
    """Tasks as workers see them. The store's clock decides; the attempt fences every write.

    Every method with a Hold raises StaleAttempt where the task is not running at that attempt.

    A queued task whose `run_at` has passed stands in line, at a turn that is settled when it
    joins: one after the last turn that its owner has in line at its priority, but never before
    the head, the smallest turn of its priority in line (0 where nobody is). So owners go by
    turns, each with its tasks by age, and who comes late does not wait behind all of another's.
    A task that was carried out before joins at the head after its delay, and keeps its turn where
    it has none.
    """

    async def claim(
        self,
        worker: WorkerId,
        lease: timedelta,
        limit: int,
        only: TaskId | None = None,
        caps: Mapping[Lane, int] = UNCAPPED,
    ) -> tuple[Task, ...]:
        """Take up to `limit` due tasks: by priority (higher first), by turn, by age.

        Due is: queued with `run_at` passed, or running with its lease passed. Each comes back
        running, its attempt one higher (also beyond `max_attempts`: the worker then ends it).
        Of many workers exactly one gets a task. `only` narrows to one task.

        At most `caps[lane]` tasks of a lane run at once, over all workers that claim with these
        caps. A task whose lease has passed still counts: whoever takes it up needs no more room.
        """
        ...

    async def heartbeat(self, worker: WorkerId, lease: timedelta, holds: tuple[Hold, ...]) -> Pulse:
        """Renew the leases of all `holds` at once; say which are lost and which to cancel."""
        ...

    async def record(self, hold: Hold, events: tuple[NewEvent, ...]) -> int:
        """Put events at the end of the task's; return the last `seq`.

        A PROGRESS event's data also becomes the task's `progress`.
        """
        ...

    async def write(self, entries: tuple[Entry, ...]) -> tuple[int | None, ...]:
        """Record and finish for several attempts, at most one entry a task.

        Returns for each the last `seq`. None stands for an attempt that no longer counts: nothing
        of it is written, and the others are written all the same.
        """
        ...

    async def finish(self, hold: Hold, outcome: Outcome) -> Task:
        """End the task. Its lease is gone."""
        ...

    async def requeue(self, hold: Hold, delay: timedelta, *, counted: bool) -> Task:
        """Back to queued, due after `delay`; not `counted` allows one attempt more instead.

        The attempt's number stays: used twice, it would fence nothing. Without a delay the task
        keeps its turn.
        """
        ...

    async def abandon(self, worker: WorkerId) -> int:
        """End the leases of all that `worker` holds: its earlier life is surely over.

        Returns how many tasks became due.
        """
        ...


class TaskRetention(Protocol):
    """Tasks as upkeep sees them, some hundreds at a time."""

    async def end_overdue(self, limit: int) -> tuple[Task, ...]:
        """Fail up to `limit` unfinished tasks whose deadline has passed and that nobody holds.

        Nobody holds those that are queued or wait, and those that run with a lease that passed.
        Each ends with OVERDUE and an ERROR event; its open decision is void.
        """
        ...

    async def purge(self, older_than: timedelta, limit: int) -> int:
        """Remove up to `limit` tasks that ended that long ago, oldest first, with their events.

        Returns how many. What they put into conversations stays.
        """
        ...
