"""What must be true of a task that has ended, whatever befell the processes around it."""

from itertools import pairwise

import msgspec

from domain.model.tasks import EventKind, Task, TaskEvent, TaskStatus

LAST = {EventKind.DONE, EventKind.ERROR}


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One ended task, all that is recorded of it, and how often its call was really made."""

    task: Task
    events: tuple[TaskEvent, ...]
    last_seq: int
    calls: int
    repeatable: bool


def check(case: Case) -> None:
    """Nothing is lost, nothing is done or ended twice, no event is missing, all is explained."""
    _events_are_whole(case)
    _calls_are_accounted_for(case)
    _the_end_is_explained(case)


def _events_are_whole(case: Case) -> None:
    events, name = case.events, case.task.task_id
    assert [event.seq for event in events] == list(range(1, case.last_seq + 1)), name
    assert all(one.attempt <= other.attempt for one, other in pairwise(events)), events
    assert all(event.attempt <= case.task.attempt for event in events), events
    assert [event.kind in LAST for event in events] == [False] * (len(events) - 1) + [True], events


def _calls_are_accounted_for(case: Case) -> None:
    begun = [event.attempt for event in case.events if event.kind is EventKind.START]
    recorded = [event.attempt for event in case.events if event.kind is EventKind.TOOL_CALL]
    assert sorted(set(begun)) == begun, case.events
    assert sorted(set(recorded)) == recorded, case.events
    # Recorded before it is made: a worker may have died in between.
    assert case.calls <= len(recorded), case
    assert case.repeatable or case.calls <= 1, case


def _the_end_is_explained(case: Case) -> None:
    task, last = case.task, case.events[-1]
    assert task.finished_at is not None
    assert task.lease_until is None
    assert last.data["status"] == task.status
    if task.status is TaskStatus.SUCCEEDED:
        assert task.error is None
        assert case.calls >= 1, case
        return
    assert task.error is not None, case
    assert last.data["reason"] == task.error.reason
    match task.error.reason:
        case "indeterminate":
            assert not case.repeatable
            assert task.attempt > 1
        case "worker-lost":
            assert task.attempt > task.max_attempts
        case "cancelled":
            assert task.cancel_requested_at is not None
        case other:
            raise AssertionError(f"{task.task_id} ended by {other!r} without a cause")
