"""A way to a real engine on which chosen requests go wrong."""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

HEAD_END = b"\r\n\r\n"
MOST_HEAD = 65_536
BROKEN = (
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\n"
    b"Content-Length: 35\r\nConnection: close\r\n\r\n"
    b'{"message":"the disk is not there"}'
)


class FaultyEngine:
    """Passes requests on, one a connection.

    Those whose line matches `breaks` are answered with 500, those of `hangs` never; those of
    `mute` are carried out and never answered.
    """

    def __init__(self, engine: Path, path: Path) -> None:
        self._engine = engine
        self._path = path
        self.host = f"unix://{path}"
        self.breaks = self.hangs = self.mute = ""

    def heal(self) -> None:
        """Let everything through from now on."""
        self.breaks = self.hangs = self.mute = ""

    @asynccontextmanager
    async def open(self) -> AsyncGenerator["FaultyEngine", None]:
        """Listen while the block runs."""
        pumps: set[asyncio.Task[None]] = set()

        async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            pumps.add(task)
            try:
                await self._meet(reader, writer)
            except (OSError, asyncio.IncompleteReadError):
                pass  # whoever asked has left
            finally:
                writer.close()
                pumps.discard(task)

        server = await asyncio.start_unix_server(met, self._path, limit=MOST_HEAD)
        try:
            yield self
        finally:
            server.close()
            for pump in tuple(pumps):
                pump.cancel()
            if pumps:
                await asyncio.wait(tuple(pumps))

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(HEAD_END)
        line = head.partition(b"\r\n")[0].decode()
        if self.breaks and re.search(self.breaks, line):
            writer.write(BROKEN)
            await writer.drain()
            return
        if self.hangs and re.search(self.hangs, line):
            await reader.read()  # to the caller's leaving
            return
        there, back = await asyncio.open_unix_connection(self._engine)
        if b"upgrade:" not in head.lower():
            head = re.sub(rb"(?im)^connection:.*\r\n", b"", head)
            head = head.removesuffix(b"\r\n") + b"Connection: close\r\n\r\n"
        back.write(head)
        mute = bool(self.mute and re.search(self.mute, line))
        pumps = [
            asyncio.create_task(_pump(reader, back, there=True)),
            asyncio.create_task(_pump(there, None if mute else writer)),
        ]
        try:
            await asyncio.wait({pumps[0]} if mute else {pumps[1]})
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.wait(pumps)
            back.close()


async def _pump(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter | None, *, there: bool = False
) -> None:
    while data := await source.read(MOST_HEAD):
        if sink is not None:
            sink.write(data)
            await sink.drain()
    if there and sink is not None and sink.can_write_eof():
        sink.write_eof()
