"""What the line of due tasks promises: caps are kept, and no caller waits behind all of another."""

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from domain.model.callers import CallerId
from domain.model.tasks import Lane, Task, TaskId, TaskStatus
from tests.simulation.journal import Journal
from tests.simulation.names import tag_of

Change = tuple[Task | None, Task]
# A row before a commit, None where there was none, and after it.
MOST_BEFORE = 1
# Of each other caller, who had any number in line.


class _Waiting(msgspec.Struct):
    """A caller's only task in line at its priority; how many of others went before it."""

    task: Task
    place: int
    passed: Counter[CallerId]


class LineRules:
    """Holds every commit to them."""

    def __init__(self, journal: Journal, caps: Mapping[Lane, int]) -> None:
        self._journal = journal
        self._caps = caps
        self._running: Counter[Lane] = Counter()
        self._places: dict[TaskId, int] = {}
        self._joined = 0
        self._line: Counter[tuple[CallerId, int]] = Counter()
        self._alone: dict[TaskId, _Waiting] = {}

    def committed(self, changes: Sequence[Change]) -> None:
        """One commit changed these rows."""
        self._count_running(changes)
        left = [(b, a) for b, a in changes if b is not None and _in_line(b) and not _in_line(a)]
        for before, _ in left:
            self._alone.pop(before.task_id, None)
            self._line[before.owner, before.priority] -= 1
        for before, after in left:
            if after.status is TaskStatus.RUNNING:
                self._went(before)
        # A claim lets tasks join before it takes some: who joined beside those was not alone.
        through = {
            (new.owner, new.priority) for _, new in changes if new.status is TaskStatus.RUNNING
        }
        for old, new in changes:
            if _in_line(new) and not (old is not None and _in_line(old)):
                self._joins(new, alone=(new.owner, new.priority) not in through)

    def _count_running(self, changes: Sequence[Change]) -> None:
        claimed: dict[Lane, Task] = {}
        for before, after in changes:
            ran = before is not None and before.status is TaskStatus.RUNNING
            runs = after.status is TaskStatus.RUNNING
            self._running[after.lane] += runs - ran
            if runs and not ran:
                claimed[after.lane] = after
        for lane, task in claimed.items():
            cap = self._caps.get(lane)
            number = self._running[lane]
            self._journal.require(
                cap is None or number <= cap,
                f"{tag_of(task)} was claimed: {number} of {lane} run, {cap} may",
            )

    def _joins(self, task: Task, *, alone: bool) -> None:
        self._joined += 1
        self._places[task.task_id] = self._joined
        self._line[task.owner, task.priority] += 1
        if task.attempt:
            # What was carried out before joins at the head, and others follow it there.
            for other in [*self._alone.values()]:
                if other.task.priority == task.priority:
                    del self._alone[other.task.task_id]
        elif alone and self._line[task.owner, task.priority] == 1 and task.lane not in self._caps:
            self._alone[task.task_id] = _Waiting(task, self._joined, Counter())

    def _went(self, task: Task) -> None:
        if task.attempt:
            return
        for waiting in self._alone.values():
            other = waiting.task
            if other.priority != task.priority or other.owner == task.owner:
                continue
            place = self._places[task.task_id]
            # Who was submitted earlier for a later time may go first again and again.
            if place < waiting.place or task.created_at > other.created_at:
                waiting.passed[task.owner] += 1
            self._journal.require(
                waiting.passed[task.owner] <= MOST_BEFORE,
                f"{tag_of(other)} of {other.owner} waits for {waiting.passed[task.owner]} tasks of "
                f"{task.owner}",
            )


def _in_line(task: Task) -> bool:
    return task.status is TaskStatus.QUEUED and task.turn is not None
