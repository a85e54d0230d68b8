"""Remote servers for tests: the test itself behind a real socket, or the SDK's in a process."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

from adapters.mcp.remote.connector import HttpConnector
from domain.model.servers import Era, Remote
from domain.ports.mcp import Changed, McpSession, Opening, RemoteConnector
from tests.mcp.pipes import ROOT
from tests.mcp.sessions import LONG, nothing, opening

CONNECTOR: RemoteConnector = HttpConnector("tester", "1")
SECRET = "Bearer very-secret-token"
JSON = "application/json"
SSE = "text/event-stream"
CALL = {"name": "echo", "arguments": {}}


class Exchange:
    """A request that the client sent, and the means to answer it, well or badly."""

    def __init__(
        self, first: str, headers: Mapping[str, str], body: bytes, transport: asyncio.Transport
    ) -> None:
        self.verb, self.target, _ = first.split()
        self.headers = headers
        self.message: Any = json.loads(body) if body else None
        self.gone = asyncio.Event()
        self._transport = transport

    def send(self, data: bytes) -> None:
        self._transport.write(data)

    def reply(
        self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        given = {"Content-Type": JSON, "Content-Length": str(len(body)), **(headers or {})}
        self._head(status, given)
        self.send(body)

    def answer(self, headers: Mapping[str, str] | None = None, **result: Any) -> None:
        body = {"jsonrpc": "2.0", "id": self.message["id"], "result": result}
        self.reply(200, json.dumps(body).encode(), headers)

    def refuse(self, status: int, code: int, **error: Any) -> None:
        body = {"code": code, "message": "no", **error}
        message = {"jsonrpc": "2.0", "id": self.message["id"], "error": body}
        self.reply(status, json.dumps(message).encode())

    def stream(self) -> None:
        self._head(200, {"Content-Type": SSE, "Transfer-Encoding": "chunked"})

    def event(self, message: object, prefix: str = "") -> None:
        data = f"{prefix}data: {json.dumps(message)}\n\n".encode()
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def event_answer(self, **result: Any) -> None:
        self.event({"jsonrpc": "2.0", "id": self.message["id"], "result": result})

    def notify(self, method: str, **params: Any) -> None:
        self.event({"jsonrpc": "2.0", "method": method, "params": params})

    def end(self) -> None:
        self.send(b"0\r\n\r\n")

    def cut(self) -> None:
        self._transport.abort()

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {v}" for name, v in headers.items())]
        self.send("\r\n".join([*lines, "", ""]).encode())


class _Connection(asyncio.Protocol):
    def __init__(self, peer: "HttpPeer") -> None:
        self._peer = peer
        self._received = b""
        self._exchange: Exchange | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._peer.opened(self._transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in rest)
        }
        if separator and len(body) == int(headers.get("content-length", "0")):
            self._received = b""
            self._exchange = Exchange(first, headers, body, self._transport)
            self._peer.received(self._exchange)

    def connection_lost(self, _: Exception | None) -> None:
        if self._exchange is not None:
            self._exchange.gone.set()


class HttpPeer:
    """The test as the server: `heard` hands out the client's requests in their order."""

    def __init__(self) -> None:
        self.connections = 0
        self._heard: asyncio.Queue[Exchange] = asyncio.Queue()
        self._open: list[asyncio.Transport] = []
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/mcp"

    @property
    def heard_nothing_more(self) -> bool:
        return self._heard.empty()

    async def heard(self, method: str | None = None) -> Exchange:
        """The next request, which is to be of this method or verb."""
        exchange = await asyncio.wait_for(self._heard.get(), 5)
        said = exchange.message.get("method") if exchange.message else exchange.verb
        assert method in {None, said}, said
        return exchange

    async def heard_answer(self) -> Exchange:
        """The client's next answer to a request of the server."""
        exchange = await self.heard()
        assert "method" not in exchange.message
        return exchange

    def opened(self, transport: asyncio.Transport) -> None:
        self.connections += 1
        self._open.append(transport)

    def received(self, exchange: Exchange) -> None:
        self._heard.put_nowait(exchange)

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0)

    async def stop(self) -> None:
        """Refuse connections from now on and break those that are open."""
        assert self._server is not None
        self._server.close()
        for transport in self._open:
            transport.abort()
        await self._server.wait_closed()


@asynccontextmanager
async def http_peer() -> AsyncIterator[HttpPeer]:
    peer = HttpPeer()
    await peer.start()
    try:
        yield peer
    finally:
        await peer.stop()


def recipe(url: str) -> Remote:
    return Remote(url=url, headers={"Authorization": SECRET})


async def dial(url: str, how: Opening | None = None, changed: Changed = nothing) -> McpSession:
    return await CONNECTOR.dial(recipe(url), how or opening(), changed)


async def greet(peer: HttpPeer, era: Era, session_id: str = "", **capabilities: Any) -> None:
    """Answer the handshake."""
    if era is Era.MODERN:
        probe = await peer.heard("server/discover")
        probe.answer(supportedVersions=["2026-07-28"], capabilities=capabilities)
        return
    initialize = await peer.heard("initialize")
    headers = {"Mcp-Session-Id": session_id} if session_id else {}
    initialize.answer(headers=headers, protocolVersion="2025-11-25", capabilities=capabilities)
    (await peer.heard("notifications/initialized")).reply(202)


@asynccontextmanager
async def session_by_hand(
    era: Era = Era.MODERN, session_id: str = "", changed: Changed = nothing
) -> AsyncIterator[tuple[McpSession, HttpPeer]]:
    """An open session whose server is the test, and which has nothing to listen for.

    Its farewell, where there is a session id, is not answered.
    """
    async with http_peer() as peer:
        dialing = asyncio.create_task(dial(peer.url, opening(era), changed))
        await greet(peer, era, session_id)
        session = await asyncio.wait_for(dialing, 5)
        try:
            yield session, peer
        finally:
            await session.close()


def ask(session: McpSession, **how: Any) -> asyncio.Task[Any]:
    """A call under way."""
    return asyncio.create_task(session.request("tools/call", CALL, **{"timeout": LONG, **how}))


@contextmanager
def sdk_server(mode: str) -> Iterator[str]:
    """The address of the SDK's server, run as a process for the length of the block."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.mcp.remote.sdk_server", mode],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/mcp"
        finally:
            process.terminate()
