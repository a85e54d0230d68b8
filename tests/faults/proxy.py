"""A way to a database server on which answers to commits get lost."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

COMMIT = b"Q\x00\x00\x00\x0cCOMMIT;\x00"
# A simple query of PostgreSQL's protocol, as the driver sends it.
CHUNK = 1 << 16


class LossyWay:
    """Hands everything on; while `lossy`, it cuts the connection in place of an answer to a COMMIT.

    It does so for every n-th of them.
    """

    def __init__(self, port: int, every: int) -> None:
        self._to = port
        self._every = every
        self.lossy = False
        self._commits = 0
        self.lost = 0
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._ways: set[asyncio.Task[None]] = set()

    def run(self, ready: threading.Event) -> None:
        """Serve until the loop is stopped, in a thread of its own."""
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        self._loop.run_forever()
        server.close()
        self._loop.run_until_complete(self._end())
        self._loop.close()

    def stop(self) -> None:
        """End it from another thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _end(self) -> None:
        for way in self._ways:
            way.cancel()
        await asyncio.gather(*self._ways, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        way = asyncio.current_task()
        assert way is not None
        self._ways.add(way)
        try:
            with suppress(OSError, asyncio.CancelledError):
                await self._both_ways(reader, writer)
        finally:
            self._ways.discard(way)
            writer.transport.abort()

    async def _both_ways(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._to)
        lossy = asyncio.Event()
        ways = [
            asyncio.create_task(self._there(reader, to_server, lossy)),
            asyncio.create_task(_back(from_server, writer, lossy)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            to_server.transport.abort()

    async def _there(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lossy: asyncio.Event
    ) -> None:
        while chunk := await reader.read(CHUNK):
            if self.lossy and chunk.endswith(COMMIT):
                self._commits += 1
                if self._commits % self._every == 0:
                    self.lost += 1
                    lossy.set()
            writer.write(chunk)
            await writer.drain()


async def _back(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lossy: asyncio.Event
) -> None:
    """Ends, and with it the connection, where an answer is to be lost: the commit is made."""
    while (chunk := await reader.read(CHUNK)) and not lossy.is_set():
        writer.write(chunk)
        await writer.drain()


@contextmanager
def lossy_way(port: int, every: int) -> Iterator[LossyWay]:
    """A way to the server on that port, open until the block is left."""
    way, ready = LossyWay(port, every), threading.Event()
    thread = threading.Thread(target=way.run, args=(ready,))
    thread.start()
    ready.wait()
    try:
        yield way
    finally:
        way.stop()
        thread.join()
