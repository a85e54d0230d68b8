"""A byte stream over a child's standard input and output, and nothing more."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from domain.ports.launching import StreamClosed

ROOT = Path(__file__).parents[2]


class ProcessStream:
    """`ByteStream` over asyncio's own pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin = process.stdin
        self._stdout = process.stdout
        self.process = process
        self.written = b""

    async def read(self) -> bytes:
        return await self._stdout.read(1 << 20)

    async def write(self, data: bytes) -> None:
        self.written += data
        try:
            self._stdin.write(data)
            await self._stdin.drain()
        except (BrokenPipeError, ConnectionResetError) as gone:
            raise StreamClosed("the pipe is closed") from gone


class MemoryStream:
    """`ByteStream` to the test itself: feed what the peer says, look at what was written."""

    def __init__(self) -> None:
        self._incoming: asyncio.Queue[bytes] = asyncio.Queue()
        self._outgoing: asyncio.Queue[bytes] = asyncio.Queue()
        self.open = asyncio.Event()
        self.open.set()
        self.broken = False

    def feed(self, data: bytes) -> None:
        """The peer says this; empty bytes are its end."""
        self._incoming.put_nowait(data)

    async def said(self) -> bytes:
        """The next write to the peer."""
        return await asyncio.wait_for(self._outgoing.get(), 5)

    @property
    def silent(self) -> bool:
        """Whether nothing was written that the test has not looked at."""
        return self._outgoing.empty()

    async def read(self) -> bytes:
        return await self._incoming.get()

    async def write(self, data: bytes) -> None:
        await self.open.wait()
        if self.broken:
            raise StreamClosed("the pipe is closed")
        self._outgoing.put_nowait(data)


@asynccontextmanager
async def started(*arguments: str) -> AsyncIterator[ProcessStream]:
    """Run `python <arguments>` at the project's root for the length of the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=ROOT,
    )
    try:
        yield ProcessStream(process)
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 2)
        except TimeoutError:
            process.kill()
            await process.wait()
        # asyncio's own transport goes with the last reference to it unless it is closed.
        process._transport.close()  # type: ignore[attr-defined]
