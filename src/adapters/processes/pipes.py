"""The two directions of a child's standard input and output, over plain pipes."""

import asyncio
import os
from collections import deque

from domain.ports.launching import StreamClosed

CHUNK = 65_536
# What a Linux pipe holds: one read empties it.
READ_LIMIT = 1_048_576
# The port's bound on one read, and on what is held for a slow reader.


class Incoming:
    """Bytes from a pipe as they come; reading pauses while nobody takes them."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(fd, self._readable)
        self._paused = False
        self._ended = False
        self._chunks: list[bytes] = []
        self._held = 0
        self.taken = 0
        self._waiter: asyncio.Future[None] | None = None

    async def read(self) -> bytes:
        """The next bytes; empty at the end."""
        while not self._chunks:
            if self._ended:
                return b""
            self._waiter = self._loop.create_future()
            await self._waiter
        chunks, self._chunks, self._held = self._chunks, [], 0
        if self._paused:
            self._paused = False
            self._loop.add_reader(self._fd, self._readable)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def finish(self) -> None:
        """Take what the pipe still holds and close it: its writers are gone, or given up."""
        while not self._ended and self._take():
            continue
        self._end()

    def _readable(self) -> None:
        if self._take() and self._held > READ_LIMIT - CHUNK:
            self._paused = True
            self._loop.remove_reader(self._fd)

    def _take(self) -> bool:
        try:
            chunk = os.read(self._fd, CHUNK)
        except BlockingIOError:
            return False
        if not chunk:
            self._end()
            return False
        self._chunks.append(chunk)
        self._held += len(chunk)
        self.taken += len(chunk)
        self._wake()
        return True

    def _end(self) -> None:
        if not self._ended:
            self._ended, self._paused = True, False
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class _Waiting:
    """A write that the full pipe holds up."""

    __slots__ = ("done", "rest", "started")

    def __init__(self, rest: memoryview, done: asyncio.Future[None], *, started: bool) -> None:
        self.rest = rest
        self.done = done
        self.started = started


class Outgoing:
    """Bytes into a pipe; the pipe's own buffer is the only one."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd: int | None = fd
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Waiting] = deque()

    async def write(self, data: bytes) -> None:
        """Write at once where the pipe has room, else wait for the turn and for room."""
        sent = 0 if self._waiting else self._send(data)
        if sent == len(data) and not self._waiting:
            return
        entry = _Waiting(memoryview(data)[sent:], self._loop.create_future(), started=sent > 0)
        self._waiting.append(entry)
        if len(self._waiting) == 1 and self._fd is not None:
            self._loop.add_writer(self._fd, self._writable)
        try:
            await entry.done
        except asyncio.CancelledError:
            # What has begun goes out whole; what has not is forgotten.
            if not entry.started and entry in self._waiting:
                self._waiting.remove(entry)
                self._rest_if_idle()
            raise

    def close(self) -> None:
        """End the peer's input; writes that still wait fail."""
        if self._fd is None:
            return
        self._loop.remove_writer(self._fd)
        os.close(self._fd)
        self._fd = None
        while self._waiting:
            entry = self._waiting.popleft()
            if not entry.done.done():
                entry.done.set_exception(_closed())

    def _send(self, data: bytes | memoryview) -> int:
        if self._fd is None:
            raise _closed()
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0
        except BrokenPipeError as error:
            self.close()
            raise _closed() from error

    def _writable(self) -> None:
        while self._waiting:
            entry = self._waiting[0]
            try:
                sent = self._send(entry.rest)
            except StreamClosed:
                return  # closing has told them all
            if sent:
                entry.started = True
                entry.rest = entry.rest[sent:]
            if entry.rest:
                return
            self._waiting.popleft()
            if not entry.done.done():
                entry.done.set_result(None)
        self._rest_if_idle()

    def _rest_if_idle(self) -> None:
        if not self._waiting and self._fd is not None:
            self._loop.remove_writer(self._fd)


class PipeStream:
    """A child's standard input and output as one stream."""

    def __init__(self, incoming: Incoming, outgoing: Outgoing) -> None:
        self.read = incoming.read
        self.write = outgoing.write


def _closed() -> StreamClosed:
    return StreamClosed("The server's standard input is closed.")
