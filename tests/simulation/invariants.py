"""What must be true of every task once everything has settled."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from datetime import timedelta

import msgspec

from domain.model.tasks import (
    FINISHED,
    AgentPayload,
    EventKind,
    Task,
    TaskEvent,
    TaskStatus,
    ToolPayload,
)
from tests.simulation import bounds, histories
from tests.simulation.decisions import repeats
from tests.simulation.journal import Journal
from tests.simulation.life import POLICY
from tests.simulation.names import key_of, tag_of
from tests.simulation.nodes import Machine
from tests.simulation.servers import REPEATABLE
from tests.simulation.store import Rack
from tests.simulation.troubles import Troubles, seconds

OVERDUE = timedelta(seconds=1)


def unsettled(journal: Journal, rack: Rack, machines: list[Machine]) -> None:
    """Time is over: say who is still at work."""
    for task in rack.state.tasks.values():
        if task.status not in FINISHED:
            journal.broke(f"{tag_of(task)} is {task.status} long after the last trouble")
    for machine in machines:
        life = machine.life
        if life is None or not life.up or life.worker.held:
            journal.broke(f"{machine.name} is not quiet long after the last trouble")


def check_servers(journal: Journal, machines: list[Machine]) -> None:
    """Whatever failed is tried again in time."""
    for machine in machines:
        life = machine.life
        if life is None:
            continue
        for members in life.fleet.members().values():
            for record in (member.record for member in members):
                if record.retry_at is None:
                    continue
                name, late = record.spec.name, life.clock.now() - record.retry_at
                journal.require(late <= OVERDUE, f"{machine.name}/{name} was due {late} ago")
                pause = record.retry_at - record.since
                longest = POLICY.quarantine * (1 + POLICY.jitter)
                journal.require(pause <= longest, f"{machine.name}/{name} is to rest for {pause}")


def check(journal: Journal, rack: Rack, troubles: Troubles) -> None:
    """Hold the end of a run to every rule."""
    rows: dict[str, list[Task]] = defaultdict(list)
    for task in rack.state.tasks.values():
        rows[tag_of(task)].append(task)
    _nothing_lost(journal, rows)
    for tag, (task, *_) in rows.items():
        ends = journal.all("ended", tag)
        journal.require(len(ends) <= 1, f"{tag} has ended {len(ends)} times")
        if task.status in FINISHED:
            _explained(Case(journal, tag, task, rack.state.events.get(task.task_id, ())))
            histories.check_events(journal, rack, task)
    _effects(journal, rows, repeats(rack.state))
    rack.check()
    histories.check_conversations(journal, rack)
    bounds.check(journal, troubles, rows)


def _nothing_lost(journal: Journal, rows: Mapping[str, list[Task]]) -> None:
    for entry in journal.all("submitted"):
        count = len(rows.get(entry.about, ()))
        journal.require(count == 1, f"{entry.about} was accepted and is there {count} times")
    for entry in journal.all("not-submitted"):
        why = entry.data["why"]
        # An earlier try, whose answer was lost, may have been taken.
        most = 1 if why == "StorageUnavailable" or entry.data.get("again") else 0
        journal.require(not why.startswith("Key"), f"{entry.about} was turned down by {why}")
        count = len(rows.get(entry.about, ()))
        journal.require(count <= most, f"{entry.about} was turned down and is there {count} times")
    for tag, tasks in rows.items():
        asked = tasks[0].schedule_id is not None or journal.has("submit", tag)
        journal.require(asked, f"nobody asked for {tag}")
        journal.require(len(tasks) == 1, f"{tag} is there {len(tasks)} times")


def _effects(journal: Journal, rows: Mapping[str, list[Task]], allowed: Mapping[str, int]) -> None:
    """A call that must not be repeated has had its effect once at most, unless one decided so."""
    counts = Counter(entry.about for entry in journal.all("effect"))
    tools = {entry.about: entry.data["tool"] for entry in journal.all("effect")}
    for key, count in counts.items():
        repeatable = tools[key] in REPEATABLE
        task = next(iter(rows.get(key, ())), None)
        if task is not None and isinstance(task.payload, ToolPayload):
            repeatable = task.payload.idempotent or (repeatable and task.payload.idempotent is None)
        journal.require(
            repeatable or count <= 1 + allowed[key], f"the call {key} had its effect {count} times"
        )


class Case(msgspec.Struct, frozen=True):
    """One ended task, and all that is known of it."""

    journal: Journal
    tag: str
    task: Task
    events: tuple[TaskEvent, ...]

    def knows(self, what: str) -> bool:
        """Whether it happened to this task."""
        return self.journal.has(what, self.tag) or self.journal.has(what, key_of(self.task))


def _explained(case: Case) -> None:
    """A state that nothing in the world accounts for is a lie."""
    journal, tag, status, error = case.journal, case.tag, case.task.status, case.task.error
    if status is TaskStatus.SUCCEEDED:
        done = case.knows("call-answered") or case.knows("asked") or _was_decided(case, "done")
        journal.require(done and error is None, f"{tag} succeeded and nothing was done")
    elif error is None:
        journal.broke(f"{tag} has {status} without a reason")
    elif status is TaskStatus.CANCELLED:
        asked = case.knows("cancel") and error.reason == "cancelled"
        journal.require(asked, f"{tag} was cancelled and nobody asked for that")
    else:
        accounts = _ACCOUNTS.get(error.reason)
        caused = accounts is not None and accounts(case)
        journal.require(caused, f"{tag} failed by {error.reason!r} without a cause")


def _was_decided(case: Case, verdict: str) -> bool:
    settled = case.journal.all("settled-by", case.tag)
    return any(entry.data["verdict"] == verdict for entry in settled)


def _was_unsure(case: Case) -> bool:
    if case.task.attempt > 1:
        return any(event.kind is EventKind.TOOL_CALL for event in case.events)
    whys = {entry.data["why"] for entry in case.journal.all("call-failed", case.tag)}
    return bool(whys & {"CallTimedOut", "CallInterrupted"})


def _was_lost(case: Case) -> bool:
    last = case.journal.all("claimed", case.tag)[-1]
    return case.task.attempt > case.task.max_attempts and bool(last.data["again"])


def _was_unavailable(case: Case) -> bool:
    task, payload = case.task, case.task.payload
    interactive = isinstance(payload, AgentPayload) and payload.interactive
    return (task.attempt >= task.max_attempts or interactive) and _failed(case)


def _failed(case: Case) -> bool:
    """Whether its last attempt met a failure that may pass."""
    if isinstance(case.task.payload, AgentPayload):
        node = case.journal.all("claimed", case.tag)[-1].node
        return any(entry.node == node for entry in case.journal.all("model-failed"))
    return case.knows("call-failed")


def _was_too_late(case: Case) -> bool:
    ended, deadline = case.task.finished_at, case.task.deadline_at
    if deadline is None or ended is None:
        return False
    # A retry that would begin behind the deadline is not waited for.
    return ended >= deadline or (case.task.attempt < case.task.max_attempts and _failed(case))


def _turn_was_long(case: Case) -> bool:
    # The bound on its steps is never met: the model stops to wish for tools before.
    ended, begun = case.task.finished_at, case.journal.all("run-begun", case.tag)[-1].at
    return ended is not None and seconds(ended) - begun >= bounds.TURN_S


_ACCOUNTS: Mapping[str, Callable[[Case], bool]] = {
    "tool-error": lambda case: case.knows("call-erred"),
    "indeterminate": lambda case: _was_unsure(case) or _was_decided(case, "fail"),
    "worker-lost": _was_lost,
    "deadline": _was_too_late,
    "unavailable": _was_unavailable,
    "not-found": lambda case: getattr(case.task.payload, "tool", "") == "nothing",
    "turn-limit": _turn_was_long,
    "model-refused": lambda case: case.knows("model-refused"),
}
