"""All rows of the in-memory store at one moment, and copies that nobody else can change."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec

from domain.model.agents import Agent, AgentId
from domain.model.callers import CallerId
from domain.model.conversations import Conversation, ConversationId, StoredMessage
from domain.model.decisions import Decision, DecisionId
from domain.model.keys import IdempotencyKey
from domain.model.schedules import Schedule
from domain.model.servers import ServerName, ServerSpec
from domain.model.tasks import FINISHED, ScheduleId, Task, TaskEvent, TaskId, WorkerId
from domain.model.workers import WorkerRecord
from domain.ports.system import Clock

T = TypeVar("T")


def own(value: T) -> T:
    """The value as a database would give it back: through JSON, nothing in it shared."""
    return msgspec.json.decode(msgspec.json.encode(value), type=type(value))


class KeptKey(msgspec.Struct, frozen=True, kw_only=True):
    """An idempotency key that was taken; `answer` is JSON text once there is one."""

    fingerprint: str
    created_at: datetime
    answer: bytes | None = None


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Rows by their key. A committed state is never changed, only followed by another.

    `unfinished` holds those of `tasks` that have not ended, as an index: most look for these.
    """

    agents: dict[AgentId, Agent] = msgspec.field(default_factory=dict)
    servers: dict[ServerName, ServerSpec] = msgspec.field(default_factory=dict)
    tools: dict[str, tuple[Mapping[str, Any], ...]] = msgspec.field(default_factory=dict)
    revisions: dict[str, int] = msgspec.field(default_factory=dict)
    conversations: dict[ConversationId, Conversation] = msgspec.field(default_factory=dict)
    messages: dict[ConversationId, tuple[StoredMessage, ...]] = msgspec.field(default_factory=dict)
    workers: dict[WorkerId, WorkerRecord] = msgspec.field(default_factory=dict)
    tasks: dict[TaskId, Task] = msgspec.field(default_factory=dict)
    unfinished: dict[TaskId, Task] = msgspec.field(default_factory=dict)
    events: dict[TaskId, tuple[TaskEvent, ...]] = msgspec.field(default_factory=dict)
    keys: dict[tuple[CallerId, IdempotencyKey], KeptKey] = msgspec.field(default_factory=dict)
    schedules: dict[ScheduleId, Schedule] = msgspec.field(default_factory=dict)
    decisions: dict[DecisionId, Decision] = msgspec.field(default_factory=dict)

    def keep_task(self, task: Task) -> None:
        """Put a task in the place of the one with its id."""
        self.tasks[task.task_id] = task
        if task.status in FINISHED:
            self.unfinished.pop(task.task_id, None)
        else:
            self.unfinished[task.task_id] = task

    def copy(self) -> "State":
        """A state of its own to change."""
        return State(**{name: dict(getattr(self, name)) for name in self.__struct_fields__})

    def sealed(self) -> "State":
        """The same rows, where an attempt to write is a TypeError."""
        views = {name: MappingProxyType(getattr(self, name)) for name in self.__struct_fields__}
        return State(**views)  # type: ignore[arg-type]


class Rows(msgspec.Struct, frozen=True, kw_only=True):
    """What the stores of one transaction work on."""

    state: State
    clock: Clock
