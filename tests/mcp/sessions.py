"""Opening sessions for tests: over a real pipe or with the test itself as the peer."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from adapters.mcp.connector import StreamConnector
from domain.model.servers import Era
from domain.ports.launching import ByteStream
from domain.ports.mcp import Changed, McpConnector, McpSession, Opening
from tests.mcp.pipes import MemoryStream, ProcessStream, started

CONNECTOR: McpConnector = StreamConnector("tester", "1")
LONG = timedelta(seconds=20)
SHORT = timedelta(seconds=0.1)
FIXTURES = "tests.fixtures.mcp_servers"


def nothing(_: str) -> None:
    """Changes are of no interest."""


def opening(era: Era | None = None, *, probe: timedelta = LONG, start: timedelta = LONG) -> Opening:
    return Opening(era=era, probe_timeout=probe, start_timeout=start)


async def connect(
    stream: ByteStream, how: Opening | None = None, changed: Changed = nothing
) -> McpSession:
    return await CONNECTOR.connect(stream, how or opening(), changed)


@asynccontextmanager
async def session_with(
    *arguments: str, how: Opening | None = None, changed: Changed = nothing
) -> AsyncIterator[tuple[McpSession, ProcessStream]]:
    """A session with a child that `python <arguments>` starts."""
    async with started(*arguments) as stream:
        session = await connect(stream, how, changed)
        try:
            yield session, stream
        finally:
            await session.close()


async def call(session: McpSession, name: str = "echo", **arguments: Any) -> Any:
    """The decoded result of a tool call."""
    params = {"name": name, "arguments": arguments}
    return json.loads(bytes(await session.request("tools/call", params, timeout=LONG)))


class Peer:
    """The test as the server: reads requests, writes what it likes."""

    def __init__(self, stream: MemoryStream) -> None:
        self.stream = stream
        self._lines: list[bytes] = []

    async def heard(self) -> Any:
        """The next message from the client."""
        while not self._lines:
            self._lines = (await self.stream.said()).splitlines()
        return json.loads(self._lines.pop(0))

    @property
    def heard_nothing_more(self) -> bool:
        return not self._lines and self.stream.silent

    def say(self, message: object) -> None:
        self.stream.feed(json.dumps(message).encode() + b"\n")

    def answer(self, request: Any, **result: Any) -> None:
        self.say({"jsonrpc": "2.0", "id": request["id"], "result": result})

    def notify(self, method: str, **params: Any) -> None:
        self.say({"jsonrpc": "2.0", "method": method, "params": params})


@asynccontextmanager
async def session_by_hand(
    era: Era = Era.MODERN, changed: Changed = nothing, **capabilities: Any
) -> AsyncIterator[tuple[McpSession, Peer]]:
    """An open session whose peer is the test; its opening has been read away."""
    peer = Peer(MemoryStream())
    connecting = asyncio.create_task(connect(peer.stream, opening(era), changed))
    request = await peer.heard()
    if era is Era.MODERN:
        peer.answer(request, supportedVersions=["2026-07-28"], capabilities=capabilities)
    else:
        peer.answer(request, protocolVersion="2025-11-25", capabilities=capabilities)
        await_initialized = await peer.heard()
        assert await_initialized["method"] == "notifications/initialized"
    session = await asyncio.wait_for(connecting, 5)
    try:
        yield session, peer
    finally:
        await session.close()


async def until(happened: Callable[[], bool]) -> None:
    """Give the loop turns until what was fed has been taken in; a bounded number of them."""
    for _ in range(1000):
        if happened():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never happened")
