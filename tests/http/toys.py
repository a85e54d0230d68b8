# ruff: noqa: ARG002 - the signatures are the ports'
"""Parts of a small system for tests: a session with odd tools, a model that can be held."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from datetime import timedelta
from typing import Any

import msgspec

from adapters.inmemory.launcher import Peer
from domain.model.servers import Era
from domain.model.tools import CallInterrupted, PeerRefused
from domain.ports.launching import ByteStream
from domain.ports.mcp import Changed, McpSession, Opening, ProgressSink, Traffic
from domain.ports.mcp import Peer as McpPeer
from domain.ports.models import ModelAnswer, ModelRequest, ModelText, Usage
from domain.ports.schemas import ArgumentCheck, Fault
from domain.ports.storage import StorageStatus, StorageUnavailable

TOOLS: tuple[Mapping[str, Any], ...] = tuple(
    {"name": name, "description": f"It {name}s.", "inputSchema": {"type": "object"}}
    for name in ("break", "echo", "fail", "hang", "misfit", "refuse")
)


class ToySession:
    """Answers the toy tools; `hung` is set when a call hangs, `released` when it was cancelled."""

    def __init__(self) -> None:
        self.peer = McpPeer(
            era=Era.MODERN, protocol_version="2026-07-28", capabilities={"tools": {}}
        )
        self.traffic = Traffic(in_flight=0, requests=3, bytes_in=10, bytes_out=20, noise_lines=0)
        self.hung = asyncio.Event()
        self.released = asyncio.Event()
        self._closed = asyncio.Event()

    async def request(
        self,
        method: str,
        params: Mapping[str, Any],
        *,
        timeout: timedelta,  # noqa: ASYNC109 - the port's signature
        longest: timedelta | None = None,
        progress: ProgressSink | None = None,
    ) -> msgspec.Raw:
        match params.get("name"):
            case "echo":
                # Odd spacing shows whether the bytes are passed on as they came.
                text = msgspec.json.encode(params["arguments"]).decode()
                return msgspec.Raw(
                    b'{"content": [ {"type":"text","text":%b} ],'
                    b'"structuredContent": { "got": 1 }}' % msgspec.json.encode(text)
                )
            case "fail":
                return msgspec.Raw(b'{"content":[{"type":"text","text":"no"}],"isError":true}')
            case "hang":
                self.hung.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    self.released.set()
            case "break":
                raise CallInterrupted("The server ended during the call.")
            case "misfit":
                raise PeerRefused(-32602, "bad arguments")
            case "refuse":
                raise PeerRefused(-32000, "not today", {"why": "rain"})
        return msgspec.Raw(b'{"method":%b}' % msgspec.json.encode(method))

    async def list_all(
        self,
        method: str,
        key: str,
        *,
        timeout: timedelta,  # noqa: ASYNC109 - the port's signature
    ) -> tuple[Mapping[str, Any], ...]:
        return TOOLS

    async def wait_closed(self) -> str:
        await self._closed.wait()
        return "closed"

    async def close(self) -> None:
        self._closed.set()


class ToyConnector:
    """Hands out one session; what goes over the stream does not matter."""

    def __init__(self) -> None:
        self.session = ToySession()

    async def connect(self, stream: ByteStream, opening: Opening, changed: Changed) -> McpSession:
        return self.session


async def until_input_ends(peer: Peer) -> int:
    peer.log("toy is up")
    while await peer.read():
        pass
    return 0


class RequiredOnly:
    """A check that knows the keyword `required` and nothing else."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._required: list[str] = schema.get("required", [])
        self.unchecked = ""

    def first_fault(self, arguments: Mapping[str, Any]) -> Fault | None:
        for name in self._required:
            if name not in arguments:
                return Fault(path="", message=f"{name!r} is required")
        return None


class ToyCompiler:
    def compile(self, schema: Mapping[str, Any]) -> ArgumentCheck:
        return RequiredOnly(schema)


class HeldModel:
    """Says `Hello `, waits until it is let go, says `you` and ends."""

    name = "held"

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def answer(self, request: ModelRequest) -> AsyncGenerator[ModelText | ModelAnswer, None]:
        yield ModelText(text="Hello ")
        await self.go.wait()
        yield ModelText(text="you")
        yield ModelAnswer(text="Hello you", usage=Usage(input_tokens=3, output_tokens=2))

    async def probe(self) -> None:
        """It is always there."""


class ToyInspector:
    """A store that can be declared dead."""

    def __init__(self) -> None:
        self.dead = False

    async def status(self) -> StorageStatus:
        if self.dead:
            raise StorageUnavailable("The database does not answer.")
        return StorageStatus(
            dialect="memory",
            server_version="1",
            migration_current="1",
            migration_head="1",
            pool_in_use=0,
            pool_idle=1,
            probe_ms=0.1,
        )
