"""Small MCP servers inside the test's own process, and a fleet of them."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from adapters.inmemory.launcher import MemoryChild, MemoryLauncher, Peer, Program
from adapters.inmemory.signals import MemorySignals
from adapters.inmemory.system import SeededChance
from adapters.inmemory.transactions import MemoryTransactions
from adapters.mcp.connector import StreamConnector
from adapters.mcp.remote.connector import HttpConnector
from adapters.schemas.compiler import JsonSchemaCompiler
from adapters.system import SystemClock
from domain.model.callers import LOCAL, Caller
from domain.model.servers import (
    Command,
    Origin,
    ServerName,
    ServerRecord,
    ServerSpec,
    ServerState,
    StartPolicy,
)
from domain.model.tools import ToolResult
from domain.orchestration.fleet import Fleet
from domain.orchestration.life import Parts
from domain.orchestration.placement import PlacedLauncher
from domain.orchestration.roster import Roster
from domain.orchestration.service import McpService
from domain.orchestration.supervision import RestartPolicy

SOON = timedelta(seconds=5)
TICK = timedelta(milliseconds=10)
PATIENT = RestartPolicy(first_delay=timedelta(minutes=1), longest_delay=timedelta(minutes=1))
HASTY = RestartPolicy(first_delay=TICK, longest_delay=TICK, quarantine=TICK)
ECHO = {"name": "echo", "inputSchema": {"type": "object", "properties": {"n": {"type": "integer"}}}}


class Toy:
    """A server whose manners a test sets; `heard` is every message it was sent, in any life.

    Tools: `echo` answers, `hold` never does, `die` exits, any other answers `answers[name]`.
    """

    def __init__(self, *tools: str, era: str = "modern") -> None:
        self.tools: list[Any] = [ECHO, *({"name": name} for name in tools)]
        self.era = era
        self.answers: dict[str, Any] = {}
        self.heard: list[dict[str, Any]] = []
        self.silent: set[str] = set()
        self.gate = asyncio.Event()
        self.gate.set()
        self.deaf = False
        self.capabilities: dict[str, Any] = {"tools": {"listChanged": True}}
        self.write: Callable[[bytes], Any] | None = None

    def methods(self, method: str) -> list[dict[str, Any]]:
        """What was heard of one method."""
        return [message for message in self.heard if message.get("method") == method]

    async def __call__(self, peer: Peer) -> int:
        if self.deaf:
            peer.on_terminate = lambda: None
        await self.gate.wait()
        self.write = peer.write
        rest = b""
        while data := await peer.read():
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                message = json.loads(line)
                self.heard.append(message)
                code = await self._take(peer, message)
                if code is not None:
                    return code
        if self.deaf:
            await asyncio.Event().wait()
        return 0

    async def say(self, message: Mapping[str, Any]) -> None:
        """Write a message unasked."""
        assert self.write is not None
        await self.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    async def _take(self, peer: Peer, message: dict[str, Any]) -> int | None:
        method, number = message["method"], message.get("id")
        if method in self.silent or number is None:
            return None
        if method == "server/discover" and self.era == "rude":
            return 1
        if method == "tools/call":
            name = message["params"]["name"]
            if name == "die":
                return 3
            if name == "hold":
                return None
        result = self._result(method, message)
        body = {"error": {"code": -32601, "message": "?"}} if result is None else {"result": result}
        self.write = peer.write
        await self.say({"id": number, **body})
        return None

    def _result(self, method: str, message: dict[str, Any]) -> Any:
        match method:
            case "server/discover" if self.era == "modern":
                return {"supportedVersions": ["2026-07-28"], "capabilities": self.capabilities}
            case "initialize":
                return {"protocolVersion": "2025-11-25", "capabilities": self.capabilities}
            case "tools/list":
                return {"tools": self.tools}
            case "tools/call":
                params = message["params"]
                said = [{"type": "text", "text": json.dumps(params.get("arguments"))}]
                return self.answers.get(params["name"], {"content": said})
            case _:
                return self.answers.get(method)


class Diary(Toy):
    """Each process of it answers with the words of all calls that it was given so far.

    `wait` is answered once `go` is set.
    """

    def __init__(self, *tools: str) -> None:
        super().__init__("wait", "die", *tools)
        self.kept: dict[Peer, list[str]] = {}
        self.go = asyncio.Event()
        self.waiting = 0

    async def _take(self, peer: Peer, message: dict[str, Any]) -> int | None:
        params = message.get("params", {})
        if message.get("method") != "tools/call" or params["name"] not in {"echo", "wait"}:
            return await super()._take(peer, message)
        words = self.kept.setdefault(peer, [])
        words.append(params["arguments"].get("word", ""))
        if params["name"] == "wait":
            self.waiting += 1
            await self.go.wait()
            self.waiting -= 1
        text = [{"type": "text", "text": json.dumps(words)}]
        answer = {"jsonrpc": "2.0", "id": message["id"], "result": {"content": text}}
        await peer.write(json.dumps(answer).encode() + b"\n")
        return None


def words(result: ToolResult) -> list[str]:
    """What a diary's answer says."""
    said: list[str] = json.loads(json.loads(bytes(result.content))[0]["text"])
    return said


def spec(name: str = "toy", **changes: Any) -> ServerSpec:
    """A lazy server of the API; its command is its name."""
    given: dict[str, Any] = {
        "name": ServerName(name),
        "recipe": Command(command=name),
        "start": StartPolicy.LAZY,
        "owner": LOCAL.id,
        "probe_timeout": SOON,
        "start_timeout": SOON,
        "origin": Origin.FILE,
    }
    return ServerSpec(**given | changes)


class World:
    """A fleet of toys and the service over it."""

    def __init__(
        self, programs: Mapping[str, Program], policy: RestartPolicy, *given: ServerSpec
    ) -> None:
        self.launcher = MemoryLauncher(programs)
        clock = SystemClock()
        parts = Parts(
            launcher=self.launcher,
            containers=PlacedLauncher({}),
            connector=StreamConnector("tester", "1"),
            dialer=HttpConnector("tester", "1"),
            clock=clock,
            chance=SeededChance(1),
            policy=policy,
        )
        self.transactions = MemoryTransactions(clock)
        self.signals = MemorySignals()
        self._parts, self._given = parts, given
        self.renew()

    def renew(self) -> None:
        """A fleet that has not begun, over the store and the signals of now."""
        roster = Roster(self.transactions, self.signals, self._given)
        self.fleet = Fleet(self._parts, roster, JsonSchemaCompiler())
        self.mcp = McpService(self.fleet, self._parts.clock)

    async def again(self) -> None:
        """The next life of the system over the same store."""
        await self.fleet.stop()
        self.renew()
        await self.fleet.start()

    @property
    def children(self) -> list[MemoryChild]:
        """All that were started, oldest first."""
        return self.launcher.children

    def record(self, name: str = "toy") -> ServerRecord:
        """How a server is."""
        return self.mcp.record(name)

    async def call(
        self,
        tool: str = "echo",
        *,
        server: str = "toy",
        timeout: timedelta = SOON,  # noqa: ASYNC109 - the service's own
        caller: Caller = LOCAL,
        **arguments: Any,
    ) -> ToolResult:
        """Call a tool."""
        return await self.mcp.call_tool(caller, server, tool, arguments, timeout=timeout)

    async def reaches(self, *states: ServerState, name: str = "toy") -> ServerRecord:
        """The record once it is in one of the states."""
        await until(lambda: self.record(name).state in states)
        return self.record(name)


@asynccontextmanager
async def world(
    toy: Program, *given: ServerSpec, policy: RestartPolicy = PATIENT, **others: Program
) -> AsyncIterator[World]:
    """A started fleet of `toy` and others; on leaving, nothing of it may be left."""
    here = World({"toy": toy, **others}, policy, *(given or (spec(),)))
    await here.fleet.start()
    try:
        yield here
    finally:
        await here.fleet.stop()
        alive = [child for child in here.children if not child._running.done()]
        await here.launcher.aclose()
        assert not alive


async def until(seen: Callable[[], Any]) -> None:
    """Look every millisecond, five seconds long."""
    for _ in range(5000):
        if seen():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never happened")


def running(world: World) -> int:
    """How many children still run."""
    return sum(not child._running.done() for child in world.children)
