"""The system's rows, changed in transactions that the services can see."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
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
from domain.model.tasks import TaskId
from domain.ports.decisions import DecisionStore
from domain.ports.keys import KeyStore
from domain.ports.schedules import ScheduleStore
from domain.ports.tasks import TaskQueue, TaskRetention, TaskStore
from domain.ports.workers import WorkerStore


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

    async def known_tools(self, digest: str) -> tuple[Mapping[str, Any], ...] | None:
        """The definitions last kept, None where none ever were."""
        ...

    async def revisions(self) -> Mapping[str, int]:
        """Of every digest with tools kept, a number that rises each time they are."""
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
    @property
    def keys(self) -> KeyStore: ...
    @property
    def schedules(self) -> ScheduleStore: ...
    @property
    def retention(self) -> TaskRetention: ...
    @property
    def decisions(self) -> DecisionStore: ...
    @property
    def workers(self) -> WorkerStore: ...


class Transactions(Protocol):
    """Where transactions begin.

    Leaving the block commits; raising inside it rolls all of it back; a commit that fails raises
    StorageUnavailable out of the block. No other waiting belongs inside: no call to a model, a
    tool or a network.
    """

    def begin(self) -> AbstractAsyncContextManager[Transaction]:
        """A transaction that may write. Writers of one store take turns where it needs them to."""
        ...

    def single(self) -> AbstractAsyncContextManager[Transaction]:
        """As `begin`, for a block that makes one call on one store and nothing after it.

        What the call did may be kept before the block is left: the store needs no message to begin
        a transaction and none to end it.
        """
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
