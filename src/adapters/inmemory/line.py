"""The line of due tasks: who is in it, and at which turn."""

from collections.abc import Iterator
from datetime import datetime

import msgspec

from adapters.inmemory.state import State
from domain.model.tasks import Task, TaskStatus


def in_line(state: State) -> Iterator[Task]:
    """The queued tasks that have a turn, in no order."""
    return (
        task
        for task in state.unfinished.values()
        if task.status is TaskStatus.QUEUED and task.turn is not None
    )


def place_of(task: Task) -> tuple[int, int, datetime, str]:
    """What tasks are ordered by."""
    return -task.priority, task.turn or 0, task.created_at, task.task_id


def joined(state: State, task: Task) -> Task:
    """The task with its turn: one behind its owner's last, but not before the head."""
    turns = [
        (other.turn or 0, other.owner)
        for other in in_line(state)
        if other.priority == task.priority
    ]
    head = min((turn for turn, _ in turns), default=0)
    own = max((turn + 1 for turn, owner in turns if owner == task.owner), default=0)
    return msgspec.structs.replace(task, turn=max(head, own if task.attempt == 0 else 0))


def line_up(state: State, now: datetime) -> None:
    """Let the tasks join whose time has come, in the order of their times."""
    late = [
        task
        for task in state.unfinished.values()
        if task.status is TaskStatus.QUEUED and task.turn is None and task.run_at <= now
    ]
    for task in sorted(late, key=lambda task: (task.run_at, task.task_id)):
        state.keep_task(joined(state, task))
