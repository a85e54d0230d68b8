"""The events of tasks, kept in memory."""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from adapters.inmemory.state import State, own
from domain.model.tasks import NewEvent, Task, TaskEvent


def put(state: State, task: Task, events: Iterable[NewEvent], at: datetime) -> Task:
    """Put events at the end of the task's; return it with its `last_seq`."""
    before = state.events.get(task.task_id, ())
    added = tuple(
        TaskEvent(
            task_id=task.task_id,
            seq=seq,
            attempt=task.attempt,
            kind=event.kind,
            data=event.data,
            at=at,
        )
        for seq, event in enumerate(events, len(before) + 1)
    )
    state.events[task.task_id] = before + tuple(map(own, added))
    told = msgspec.structs.replace(task, last_seq=len(before) + len(added))
    state.keep_task(told)
    return told
