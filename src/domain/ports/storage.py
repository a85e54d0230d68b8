"""The system's rows, changed in transactions that the services can see."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any, Protocol

import msgspec

from domain.errors import Unavailable
from domain.model.agents import Agent, AgentId
from domain.model.callers import CallerId
from domain.model.conversations import (
    Conversation,
    ConversationId,
    Message,
    MessageId,
    StoredMessage,
)
from domain.model.pages import Page, PageQuery
from domain.model.servers import ServerName, ServerSpec
from domain.model.tasks import (
    Hold,
    NewEvent,
    Outcome,
    Payload,
    Task,
    TaskEvent,
    TaskId,
    TaskStatus,
    WorkerId,
)


class StorageUnavailable(Unavailable):
    """The store did not answer; nothing of this transaction is kept unless it says otherwise."""


class AgentStore(Protocol):
    """Agents by their slug. Times are the store's."""

    async def add(self, agent: Agent) -> Agent:
        """Keep a new agent; its times are replaced by now. Raises AgentExists."""
        ...

    async def replace(self, agent: Agent) -> Agent:
        """Keep another version of it, `updated_at` now. Raises AgentNotFound."""
        ...

    async def get(self, agent_id: AgentId) -> Agent:
        """Raises AgentNotFound."""
        ...

    async def list(self) -> tuple[Agent, ...]:
        """All of them by id."""
        ...

    async def remove(self, agent_id: AgentId) -> None:
        """Raises AgentNotFound."""
        ...


class ServerStore(Protocol):
    """Servers that came by the API, and what was learned of any server by its digest."""

    async def add(self, spec: ServerSpec) -> None:
        """Raises ServerExists."""
        ...

    async def list(self) -> tuple[ServerSpec, ...]:
        """All of them by name."""
        ...

    async def remove(self, name: ServerName) -> None:
        """Raises ServerNotFound."""
        ...

    async def keep_tools(self, digest: str, tools: tuple[Mapping[str, Any], ...]) -> None:
        """Remember the tool definitions last seen for a recipe."""
        ...

    async def known_tools(self, digest: str) -> tuple[Mapping[str, Any], ...]:
        """The definitions last kept, empty where none were."""
        ...


class ConversationStore(Protocol):
    """Conversations and their messages."""

    async def add(
        self, conversation_id: ConversationId, agent_id: AgentId, owner: CallerId
    ) -> Conversation:
        """Keep a new, empty conversation."""
        ...

    async def get(self, conversation_id: ConversationId) -> Conversation:
        """Raises ConversationNotFound."""
        ...

    async def list(self, owner: CallerId | None, query: PageQuery) -> Page[Conversation]:
        """Newest first, those of `owner` or of everyone; the cursor is the id."""
        ...

    async def remove(self, conversation_id: ConversationId) -> None:
        """Take it away with its messages. Raises ConversationNotFound."""
        ...

    async def append(
        self,
        conversation_id: ConversationId,
        task_id: TaskId | None,
        messages: tuple[tuple[MessageId, Message], ...],
    ) -> None:
        """Put messages at the end, in order, and set `updated_at`. Raises ConversationNotFound."""
        ...

    async def messages(self, conversation_id: ConversationId) -> tuple[StoredMessage, ...]:
        """All of them in order; empty for an unknown conversation."""
        ...


class NewTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task to keep. `delay` and `deadline` count from the store's now."""

    task_id: TaskId
    payload: Payload
    owner: CallerId
    priority: int = 0
    conversation_id: ConversationId | None = None
    max_attempts: int = 3
    delay: timedelta = timedelta()
    deadline: timedelta | None = None


class TaskQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which tasks to list; None does not narrow."""

    owner: CallerId | None = None
    status: TaskStatus | None = None
    conversation_id: ConversationId | None = None
    page: PageQuery = PageQuery()


class TaskStore(Protocol):
    """Tasks as their owners see them."""

    async def add(self, new: NewTask) -> Task:
        """Keep a queued task.

        Raises ConversationBusy where another task of the conversation has not ended.
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


class Pulse(msgspec.Struct, frozen=True, kw_only=True):
    """What a heartbeat brings back."""

    lost: tuple[Hold, ...] = ()
    cancelled: tuple[Hold, ...] = ()


class TaskQueue(Protocol):
    """Tasks as workers see them. The store's clock decides; the attempt fences every write.

    Every method with a Hold raises StaleAttempt where the task is not running at that attempt.
    """

    async def claim(
        self, worker: WorkerId, lease: timedelta, limit: int, only: TaskId | None = None
    ) -> tuple[Task, ...]:
        """Take up to `limit` due tasks, by priority (higher first), then by age.

        Due is: queued with `run_at` passed, or running with its lease passed. Each comes back
        running, its attempt one higher (also beyond `max_attempts`: the worker then ends it).
        Of many workers exactly one gets a task. `only` narrows to one task.
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

    async def finish(self, hold: Hold, outcome: Outcome) -> Task:
        """End the task. Its lease is gone."""
        ...

    async def requeue(self, hold: Hold, delay: timedelta, *, counted: bool) -> Task:
        """Back to queued, due after `delay`; not `counted` allows one attempt more instead.

        The attempt's number stays: used twice, it would fence nothing.
        """
        ...

    async def abandon(self, worker: WorkerId) -> int:
        """End the leases of all that `worker` holds: its earlier life is surely over.

        Returns how many tasks became due.
        """
        ...


class Transaction(Protocol):
    """All stores within one transaction."""

    @property
    def agents(self) -> AgentStore: ...
    @property
    def servers(self) -> ServerStore: ...
    @property
    def conversations(self) -> ConversationStore: ...
    @property
    def tasks(self) -> TaskStore: ...
    @property
    def queue(self) -> TaskQueue: ...


class Transactions(Protocol):
    """Where transactions begin.

    Leaving the block commits; raising inside it rolls all of it back; a commit that fails raises
    StorageUnavailable out of the block. No other waiting belongs inside: no call to a model, a
    tool or a network.
    """

    def begin(self) -> AbstractAsyncContextManager[Transaction]:
        """A transaction that may write. Writers of one store take turns where it needs them to."""
        ...

    def read(self) -> AbstractAsyncContextManager[Transaction]:
        """One consistent view, for reading only; never waits for writers."""
        ...


class StorageStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What the store says of itself, measured now."""

    dialect: str
    server_version: str
    migration_current: str | None
    migration_head: str | None
    pool_in_use: int
    pool_idle: int
    probe_ms: float


class StorageInspector(Protocol):
    """A look at the store from outside any transaction."""

    async def status(self) -> StorageStatus:
        """Ask the store now. Raises StorageUnavailable."""
        ...
