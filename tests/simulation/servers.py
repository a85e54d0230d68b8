"""MCP servers as programs: slow, erring, hanging, dying; what they did is in the journal."""

import asyncio
from collections.abc import Callable
from random import Random
from signal import SIGKILL
from typing import Any

import msgspec

from adapters.inmemory.launcher import MemoryChild, Peer, Program
from domain.model.servers import DEFAULT_LIMITS, Command, Limits, ServerName
from domain.ports.launching import LaunchFailed
from tests.simulation.climate import Climate
from tests.simulation.journal import Journal
from tests.simulation.loop import HERE, Node

TOOLS: tuple[dict[str, Any], ...] = (
    {"name": "look", "annotations": {"readOnlyHint": True}},
    {"name": "put", "annotations": {"idempotentHint": True}},
    {"name": "send"},
)
SCHEMA = {"type": "object", "properties": {"key": {"type": "string"}}, "required": ["key"]}
REPEATABLE = frozenset({"look", "put"})
SERVERS = (ServerName("files"), ServerName("mail"))
CALLS_AT_ONCE = 3
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Outside:
    """What servers and models share: chance, the present climate, and when trouble is over."""

    def __init__(self, dice: Random, climate: Climate, journal: Journal) -> None:
        self.dice = dice
        self.climate = climate
        self.journal = journal
        self.calm = asyncio.Event()
        self.strike: Callable[[str], None] = lambda _node: None

    def telling_moment(self, weight: float = 1.0) -> None:
        """A crash or a freeze soon after this shows what is kept and what is fenced."""
        here = HERE.get()
        if here is not None and self.happens(self.climate.strikes * weight):
            self.strike(here.name.partition("/")[0])

    def happens(self, chance: float) -> bool:
        """Draw."""
        return chance > 0 and self.dice.random() < chance


class _Died(Exception):
    """The program ends in the midst of a call."""


class ToolServer:
    """One program; each of its processes has its own calls under way."""

    def __init__(self, name: str, era: str, outside: Outside) -> None:
        self._name = name
        self._era = era
        self._out = outside

    async def __call__(self, peer: Peer) -> int:
        dice = self._out.dice
        await asyncio.sleep(dice.choice((0.02, 0.1, 0.6)))
        if self._out.happens(self._out.climate.boot_fails):
            return 1
        async with asyncio.TaskGroup() as group:
            process = _Process(self._name, self._era, self._out, peer, group)
            rest = b""
            while data := await peer.read():
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    await process.take(_decode(line))
            process.end()
        return 0


class _Process:
    def __init__(
        self, name: str, era: str, outside: Outside, peer: Peer, group: asyncio.TaskGroup
    ) -> None:
        self._name = name
        self._era = era
        self._out = outside
        self._peer = peer
        self._group = group
        self._calls: dict[Any, asyncio.Task[None]] = {}

    async def take(self, message: dict[str, Any]) -> None:
        """One message from the client."""
        method, number = message.get("method"), message.get("id")
        if method == "tools/call":
            self._calls[number] = self._group.create_task(self._call(number, message["params"]))
            self._out.journal.require(
                len(self._calls) <= CALLS_AT_ONCE,
                f"{self._name} has {len(self._calls)} calls at once, {CALLS_AT_ONCE} are allowed",
            )
        elif method == "notifications/cancelled":
            call = self._calls.pop(message["params"]["requestId"], None)
            if call is not None and self._out.happens(0.7):
                call.cancel()
        elif number is not None and method is not None:
            result = self._answer(method)
            error = {"error": {"code": -32601, "message": "?"}}
            await self._say({"id": number, **(error if result is None else {"result": result})})

    def end(self) -> None:
        """Its input has ended."""
        for call in self._calls.values():
            call.cancel()

    def _answer(self, method: str) -> dict[str, Any] | None:
        capabilities = {"tools": {"listChanged": False}}
        match method:
            case "server/discover" if self._era == "modern":
                return {"supportedVersions": ["2026-07-28"], "capabilities": capabilities}
            case "initialize" if self._era == "legacy":
                return {"protocolVersion": "2025-11-25", "capabilities": capabilities}
            case "ping" if self._era == "legacy":
                return {}
            case "tools/list":
                return {"tools": [{**tool, "inputSchema": SCHEMA} for tool in TOOLS]}
            case _:
                return None

    async def _call(self, number: Any, params: dict[str, Any]) -> None:
        out, climate = self._out, self._out.climate
        key, tool = params["arguments"]["key"], params["name"]
        out.journal.note("call", key, tool=tool, server=self._name)
        await asyncio.sleep(out.dice.uniform(0.001, 0.05))
        if out.happens(climate.call_refused):
            out.journal.note("call-refused", key)
            await self._answered(number, {"error": {"code": -32000, "message": "not now"}})
            return
        if out.happens(climate.call_kills):
            raise _Died
        out.journal.note("effect", key, tool=tool, server=self._name)
        if out.happens(climate.call_kills):
            raise _Died
        await self._linger(params)
        is_error = out.happens(climate.call_errors)
        if is_error:
            out.journal.note("call-erred", key)
        content = [{"type": "text", "text": key}]
        await self._answered(number, {"result": {"content": content, "isError": is_error}})

    async def _linger(self, params: dict[str, Any]) -> None:
        out, climate = self._out, self._out.climate
        if out.happens(climate.call_hangs):
            out.journal.note("call-hangs", params["arguments"]["key"])
            out.telling_moment(weight=8)
            await out.calm.wait()
        elif out.happens(climate.call_slow):
            for step in range(out.dice.randint(1, 3)):
                await asyncio.sleep(out.dice.uniform(0.2, 4))
                token = params.get("_meta", {}).get("progressToken")
                if token is not None and out.happens(0.5):
                    out.journal.note("call-told", params["arguments"]["key"])
                    report = {"progressToken": token, "progress": step + 1}
                    await self._say({"method": "notifications/progress", "params": report})

    async def _answered(self, number: Any, body: dict[str, Any]) -> None:
        self._calls.pop(number, None)
        await self._say({"id": number, **body})

    async def _say(self, message: dict[str, Any]) -> None:
        await self._peer.write(_encode({"jsonrpc": "2.0", **message}) + b"\n")


class SimulatedChild(MemoryChild):
    """A child that is a process of its own: it can freeze, and a forced signal ends it even so."""

    def __init__(self, process: Node, program: Program, recipe: Command, limits: Limits) -> None:
        async def apart(peer: Peer) -> int:
            HERE.set(process)
            return await program(peer)

        super().__init__(apart, recipe, limits)
        self.process = process

    def kill(self, signal: int = SIGKILL) -> None:
        if self.process.frozen:
            if signal != SIGKILL:
                return  # it would wait for the thaw; whoever sends it goes on to the next step
            self.process.thaw()
        super().kill(signal)

    @property
    def running(self) -> bool:
        """Whether its program still runs."""
        return not self._running.done()


class NodeLauncher:
    """Starts programs on one node; they are gone soon after it crashed."""

    def __init__(self, node: Node, programs: dict[str, ToolServer], outside: Outside) -> None:
        self._node = node
        self._programs = programs
        self._out = outside
        self.children: list[SimulatedChild] = []

    async def launch(
        self, name: ServerName, recipe: Command, limits: Limits = DEFAULT_LIMITS
    ) -> SimulatedChild:
        if self._out.happens(self._out.climate.boot_fails / 3):
            raise LaunchFailed(f"{name} was not started: no memory.", server=name)
        process = Node(f"{self._node.name}/{name}")
        child = SimulatedChild(process, self._programs[recipe.command], recipe, limits)
        self.children = [child for child in self.children if child.running]
        self.children.append(child)
        return child

    async def sweep(self) -> int:
        """What a crash left is ended with the node."""
        return 0

    def crash(self) -> None:
        """The node is gone: nothing of its servers runs any more."""
        for child in self.children:
            child.process.crash()
