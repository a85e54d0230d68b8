# ruff: noqa: ARG002 - the signatures are the ports'
"""Agents at work over the in-memory store: a scripted model, and one server of a test's tools."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import msgspec

from adapters.inmemory.launcher import MemoryLauncher, Peer
from adapters.inmemory.model import ScriptedLanguageModel
from adapters.inmemory.signals import MemorySignals
from adapters.inmemory.system import SeededChance
from adapters.inmemory.transactions import MemoryTransaction, MemoryTransactions
from adapters.mcp.remote.connector import HttpConnector
from adapters.system import SystemClock
from domain.agents import AgentService, Models, NewAgent
from domain.chat import ChatService
from domain.errors import Failure
from domain.model.agents import AgentId, AgentLimits
from domain.model.callers import LOCAL
from domain.model.conversations import ConversationId, Message
from domain.model.servers import Command, Era, Origin, ServerName, ServerSpec
from domain.model.tasks import (
    AgentPayload,
    EventKind,
    Lane,
    Task,
    TaskEvent,
    TaskId,
    ToolPayload,
    WorkerId,
)
from domain.orchestration.fleet import Fleet
from domain.orchestration.life import Parts
from domain.orchestration.placement import PlacedLauncher
from domain.orchestration.roster import Roster
from domain.orchestration.service import McpService
from domain.ports.launching import ByteStream
from domain.ports.mcp import Changed, McpSession, Opening, ProgressSink, Traffic
from domain.ports.mcp import Peer as McpPeer
from domain.ports.models import LanguageModel, ModelAnswer
from domain.ports.storage import StorageUnavailable
from domain.ports.tasks import UNCAPPED
from domain.tasks.agent_run import AgentRun
from domain.tasks.carrier import Carrier, WorkerLimits
from domain.tasks.runs import RunOf, ToolRun
from domain.tasks.service import TaskService
from domain.tasks.worker import Worker
from tests.http.toys import ToyCompiler

TICK = timedelta(milliseconds=10)
LIMITS = WorkerLimits(
    heartbeat=TICK, poll=TICK, cancel_grace=timedelta(milliseconds=100), finish_tries=3
)
FROZEN = msgspec.structs.replace(LIMITS, heartbeat=timedelta(hours=1))
# Of a worker that shows no life any more, while its runs still hang.
AGENT = AgentId("a")
Tool = Callable[[Mapping[str, Any]], Awaitable[str]]


class Desk:
    """A session whose tools are functions; `made` holds the names of all calls that began."""

    def __init__(self, tools: Mapping[str, Tool], repeatable: Iterable[str]) -> None:
        self.peer = McpPeer(
            era=Era.MODERN, protocol_version="2026-07-28", capabilities={"tools": {}}
        )
        self.traffic = Traffic(in_flight=0, requests=0, bytes_in=0, bytes_out=0, noise_lines=0)
        self.made: list[str] = []
        self._tools = tools
        self._repeatable = set(repeatable)
        self._closed = asyncio.Event()
        self._called = asyncio.Event()

    async def request(
        self,
        method: str,
        params: Mapping[str, Any],
        *,
        timeout: timedelta,  # noqa: ASYNC109 - the port's signature
        longest: timedelta | None = None,
        progress: ProgressSink | None = None,
    ) -> msgspec.Raw:
        if method != "tools/call":
            return msgspec.Raw(b"{}")
        self.made.append(params["name"])
        self._called.set()
        text = await self._tools[params["name"]](params["arguments"])
        content = [{"type": "text", "text": text}]
        return msgspec.Raw(msgspec.json.encode({"content": content}))

    async def until(self, *made: str) -> None:
        """Return once exactly these calls have begun."""
        async with asyncio.timeout(5):
            while self.made != list(made):
                await self._called.wait()
                self._called.clear()

    async def list_all(
        self,
        method: str,
        key: str,
        *,
        timeout: timedelta,  # noqa: ASYNC109 - the port's signature
    ) -> tuple[Mapping[str, Any], ...]:
        return tuple(
            {"name": name, "annotations": {"idempotentHint": name in self._repeatable}}
            for name in self._tools
        )

    async def wait_closed(self) -> str:
        await self._closed.wait()
        return "closed"

    async def close(self) -> None:
        self._closed.set()


class DeskConnector:
    """Hands out the one session."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def connect(self, stream: ByteStream, opening: Opening, changed: Changed) -> McpSession:
        return self._desk


async def until_input_ends(peer: Peer) -> int:
    while await peer.read():
        pass
    return 0


class Faulty:
    """Transactions that fail where a test says so: before anything, or after the commit."""

    def __init__(self, transactions: MemoryTransactions) -> None:
        self._transactions = transactions
        self.read = transactions.read
        self.refused = 0
        self.unacknowledged = 0

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[MemoryTransaction]:
        if self.refused:
            self.refused -= 1
            raise StorageUnavailable("The store is away.")
        async with self._transactions.begin() as transaction:
            yield transaction
        if self.unacknowledged:
            self.unacknowledged -= 1
            raise StorageUnavailable("The store did not tell.")

    def single(self) -> AbstractAsyncContextManager[MemoryTransaction]:
        return self.begin()


class AgentBench:
    """One agent `a` that may use all tools, and workers as a test wants them."""

    def __init__(
        self,
        model: LanguageModel,
        tools: Mapping[str, Tool],
        repeatable: Iterable[str] = (),
        limits: AgentLimits = AgentLimits(),  # noqa: B008 - a frozen value
        idempotent: tuple[str, ...] = (),
    ) -> None:
        clock, self.chance = SystemClock(), SeededChance(1)
        self.signals = MemorySignals()
        self.store = MemoryTransactions(clock)
        self.faulty = Faulty(self.store)
        self.desk = Desk(tools, repeatable)
        self.models = Models(model, {})
        self._limits = limits
        spec = ServerSpec(
            name=ServerName("s"),
            recipe=Command(command="desk"),
            origin=Origin.FILE,
            owner=LOCAL.id,
            idempotent_tools=idempotent,
        )
        parts = Parts(
            launcher=MemoryLauncher({"desk": until_input_ends}),
            containers=PlacedLauncher({}),
            connector=DeskConnector(self.desk),
            dialer=HttpConnector("tester", "1"),
            clock=clock,
            chance=self.chance,
        )
        self._fleet = Fleet(parts, Roster(self.store, MemorySignals(), (spec,)), ToyCompiler())
        self.mcp = McpService(self._fleet, clock)
        self.agents = AgentService(self.store, self.models, lambda: (), clock)
        self.tasks = TaskService(self.store, self.signals, self.chance, self.models)

    @asynccontextmanager
    async def open(self) -> AsyncIterator["AgentBench"]:
        await self._fleet.start()
        await self.mcp.execute(LOCAL, "s", "ping", {}, timeout=timedelta(seconds=5))
        new = NewAgent(agent_id=AGENT, name="A", instructions="", tools=("*",), limits=self._limits)
        await self.agents.create(LOCAL, new)
        try:
            yield self
        finally:
            await self._fleet.stop()

    def worker(
        self, name: str = "w", limits: WorkerLimits = LIMITS, caps: Mapping[Lane, int] = UNCAPPED
    ) -> Worker:
        runs: RunOf = {
            ToolPayload: ToolRun(self.mcp, self.store),
            AgentPayload: AgentRun(self.mcp, self.models, self.store),
        }
        carrier = Carrier(self.faulty, self.signals, runs, self.chance, limits)
        return Worker(WorkerId(name), self.store, self.signals, carrier, limits, lambda: caps)

    @asynccontextmanager
    async def working(
        self, name: str = "w", caps: Mapping[Lane, int] = UNCAPPED
    ) -> AsyncIterator[Worker]:
        async with AsyncExitStack() as stack:
            worker = self.worker(name, caps=caps)
            await worker.start()
            stack.push_async_callback(worker.stop, timedelta())
            yield worker

    def chats(self, worker: Worker) -> ChatService:
        return ChatService(self.store, self.tasks, worker, self.chance)

    async def finished(self, task_id: TaskId) -> Task:
        async with asyncio.timeout(10):
            return await self.tasks.finished(LOCAL, task_id)

    async def until_event(self, task_id: TaskId, kind: EventKind) -> None:
        async with asyncio.timeout(10):
            async for event in self.tasks.follow(LOCAL, task_id):
                if event.kind is kind:
                    return

    async def events(self, task_id: TaskId) -> tuple[TaskEvent, ...]:
        async with self.store.read() as transaction:
            return await transaction.tasks.events(task_id, 0, 1000)

    async def said(self, conversation_id: ConversationId) -> list[Message]:
        async with self.store.read() as transaction:
            stored = await transaction.conversations.messages(conversation_id)
        return [entry.message for entry in stored]

    async def conversation(self) -> ConversationId:
        """A new one with the agent."""
        conversation_id = ConversationId(self.chance.new_id())
        async with self.store.begin() as transaction:
            await transaction.conversations.add(conversation_id, AGENT, LOCAL.id)
        return conversation_id


Script = Iterable[ModelAnswer | Failure]


def bench(script: Script, repeatable: Iterable[str] = (), **tools: Tool) -> AgentBench:
    """A bench with a scripted model."""
    return AgentBench(ScriptedLanguageModel(script), tools, repeatable)
