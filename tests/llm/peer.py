"""A small HTTP server that plays a model's server, its faults included."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from enum import Enum, auto
from typing import Any

import msgspec


class Act(Enum):
    """What a peer does instead of sending bytes."""

    CUT = auto()
    SILENCE = auto()


class Seen(msgspec.Struct, frozen=True):
    """A request as it came; header names in lower case."""

    line: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


Reply = Sequence[bytes | Act]


def head(status: int, content_type: str = "application/json", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Something", f"Content-Type: {content_type}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def stream(body: bytes, *after: Act, piece: int = 7) -> Reply:
    """A chunked event stream in pieces of `piece` bytes; ends by itself, or with an act."""
    start = head(200, "text/event-stream", Transfer_Encoding="chunked")
    cut = [body[begin : begin + piece] for begin in range(0, len(body), piece)]
    chunks = [b"%x\r\n%s\r\n" % (len(part), part) for part in cut]
    return [start, *chunks, *(after or (b"0\r\n\r\n",))]


class Peer:
    """Keeps what it saw; `left` is set once a client hung up on a silent answer."""

    def __init__(self, reply: Callable[[Seen], Reply]) -> None:
        self._reply = reply
        self.seen: list[Seen] = []
        self.left = asyncio.Event()
        self.base_url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await _read(reader)
            self.seen.append(request)
            for act in self._reply(request):
                if act is Act.CUT:
                    writer.transport.abort()
                elif act is Act.SILENCE:
                    await reader.read()
                    self.left.set()
                else:
                    writer.write(act)
                    await writer.drain()
        except ConnectionError:
            self.left.set()
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Seen:
    line, *rest = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (item.partition(": ") for item in rest)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Seen(line, headers, body)


@asynccontextmanager
async def peer(reply: Callable[[Seen], Reply] | Reply) -> AsyncIterator[Peer]:
    """A peer on a free port of this machine, gone when the block is left."""
    playing = Peer(reply if callable(reply) else lambda _: reply)
    server = await asyncio.start_server(playing.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    playing.base_url = f"http://{host}:{port}/v1"
    async with server:
        yield playing
