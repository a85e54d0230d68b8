"""Tasks: work that must not be lost, and its life cycle as a table."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NewType

import msgspec

from domain.errors import Conflict, NotFound
from domain.model.agents import AgentId
from domain.model.callers import CallerId
from domain.model.conversations import ConversationId, Message
from domain.model.retries import DEFAULT_RETRY, RetryPolicy

TaskId = NewType("TaskId", str)
ScheduleId = NewType("ScheduleId", str)
WorkerId = NewType("WorkerId", str)
Lane = NewType("Lane", str)
# What a task will mostly wait for, and what a cap limits: one server, or one model.


class TaskNotFound(NotFound):
    """No task has this id."""


class TaskFinished(Conflict):
    """The task has ended: nothing about it can change any more."""


class StaleAttempt(Conflict):
    """The attempt that wants to write is not the task's present one, or the task has ended.

    A worker that was frozen past its lease meets this when it thaws: its work no longer counts.
    """


class FiredAlready(Conflict):
    """The schedule has a task for this time."""


class TaskStatus(StrEnum):
    """Where a task stands. WAITING: for a decision by a person."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


TASK_TRANSITIONS: Mapping[TaskStatus, frozenset[TaskStatus]] = MappingProxyType(
    {
        TaskStatus.QUEUED: frozenset(
            {
                TaskStatus.RUNNING,
                TaskStatus.FAILED,  # its deadline passed
                TaskStatus.CANCELLED,
            }
        ),
        TaskStatus.RUNNING: frozenset(
            {
                TaskStatus.RUNNING,  # reclaimed after a lost lease: the next attempt
                TaskStatus.QUEUED,  # retried later, or handed back by a draining worker
                TaskStatus.WAITING,
                TaskStatus.SUCCEEDED,
                TaskStatus.FAILED,
                TaskStatus.CANCELLED,
            }
        ),
        TaskStatus.WAITING: frozenset(
            {
                TaskStatus.QUEUED,
                TaskStatus.SUCCEEDED,  # a person knows what came of its call
                TaskStatus.FAILED,
                TaskStatus.CANCELLED,
            }
        ),
        TaskStatus.SUCCEEDED: frozenset(),
        TaskStatus.FAILED: frozenset(),
        TaskStatus.CANCELLED: frozenset(),
    }
)

FINISHED = frozenset(status for status, following in TASK_TRANSITIONS.items() if not following)


class ToolPayload(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag="tool",
    tag_field="type",
    forbid_unknown_fields=True,
):
    """One tool call. `idempotent` true allows a repeat after a worker died in mid-call."""

    server: str
    tool: str
    arguments: Mapping[str, Any] = msgspec.field(default_factory=dict)
    idempotent: bool | None = None


class AgentPayload(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag="agent",
    tag_field="type",
    forbid_unknown_fields=True,
):
    """One turn of an agent. Without a conversation the turn stands alone.

    `interactive` says that somebody waits: a failing model then ends the task at once.
    """

    agent: AgentId
    message: str
    conversation_id: ConversationId | None = None
    model: str | None = None
    interactive: bool = False


Payload = ToolPayload | AgentPayload


class TaskType(StrEnum):
    """What the payload is: the tag of its Struct."""

    TOOL = "tool"
    AGENT = "agent"


def server_lane(name: str) -> Lane:
    """The lane of calls of one server."""
    return Lane(f"server:{name}")


def model_lane(name: str) -> Lane:
    """The lane of turns that one model answers."""
    return Lane(f"model:{name}")


class OnIndeterminate(StrEnum):
    """What becomes of a task whose call may have had its effect and must not be repeated.

    ASK lets it wait for a person's decision.
    """

    FAIL = "fail"
    ASK = "ask"


class TaskError(msgspec.Struct, frozen=True, kw_only=True):
    """Why a task failed.

    `reason` is stable and for programs: `tool-error`, `indeterminate`, `worker-lost`,
    `deadline`, `cancelled`, `turn-limit`, `model-refused`, or a failure's kind. `message` is for
    people.
    """

    reason: str
    message: str


class TaskProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far the work is, in the tool's own unit."""

    progress: float
    total: float | None = None
    message: str | None = None


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A row of work.

    `attempt` counts claims: 0 before the first; it fences every write of a worker.
    `lease_until` is when the worker must have shown life; all times are the store's clock's.
    A schedule's task knows the time for which it was submitted.
    `turn` is its place among the tasks of its priority that are in line, None while a queued task
    waits for its `run_at`: see TaskQueue. `queue_position` is not kept: it is filled in for those
    who look at one task.
    """

    task_id: TaskId
    task_type: TaskType
    status: TaskStatus
    payload: Payload
    priority: int = 0
    owner: CallerId
    lane: Lane = Lane("")
    turn: int | None = None
    queue_position: int | None = None
    conversation_id: ConversationId | None = None
    attempt: int = 0
    max_attempts: int = 3
    retry: RetryPolicy = DEFAULT_RETRY
    on_indeterminate: OnIndeterminate = OnIndeterminate.FAIL
    run_at: datetime
    deadline_at: datetime | None = None
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    worker: WorkerId | None = None
    lease_until: datetime | None = None
    progress: TaskProgress | None = None
    result: Any = None
    error: TaskError | None = None
    last_seq: int = 0
    schedule_id: ScheduleId | None = None
    scheduled_for: datetime | None = None


class Fire(msgspec.Struct, frozen=True, kw_only=True):
    """One time of a schedule: it brings one task, however many schedulers there are."""

    schedule_id: ScheduleId
    scheduled_for: datetime


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's claim on one attempt of a task: the fence of its writes."""

    task_id: TaskId
    attempt: int


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a task ended. `status` is one of FINISHED; `result` is JSON."""

    status: TaskStatus
    result: Any = None
    error: TaskError | None = None


class EventKind(StrEnum):
    """What happened in a task. START to ERROR are the words of the event stream."""

    START = "start"
    TEXT = "text"
    STEP = "step"
    TOOL_CALL = "tool_call"
    TOOL_RESULT = "tool_result"
    PROGRESS = "progress"
    RETRY = "retry"
    DECISION = "decision"
    DONE = "done"
    ERROR = "error"


class NewEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event before it has its place."""

    kind: EventKind
    data: Mapping[str, Any]


OVERDUE = Outcome(
    status=TaskStatus.FAILED,
    error=TaskError(reason="deadline", message="Its deadline passed before it was carried out."),
)
# The end of a task that no worker held.


def last_event(task_id: TaskId, outcome: Outcome) -> NewEvent:
    """The event that tells a task's end, and after which none follows."""
    data: dict[str, Any] = {"task_id": task_id, "status": outcome.status.value}
    if outcome.result is not None:
        data["result"] = outcome.result
    if outcome.error is None:
        return NewEvent(kind=EventKind.DONE, data=data)
    data |= {"reason": outcome.error.reason, "message": outcome.error.message}
    return NewEvent(kind=EventKind.ERROR, data=data)


class TaskEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event at its place: `seq` counts from 1 without gaps in its task."""

    task_id: TaskId
    seq: int
    attempt: int
    kind: EventKind
    data: Mapping[str, Any]
    at: datetime


class TurnStep(msgspec.Struct, frozen=True, kw_only=True):
    """The data of a STEP event: messages that a finished step of a turn adds to its history."""

    messages: tuple[Message, ...]
    input_tokens: int = 0
    output_tokens: int = 0
