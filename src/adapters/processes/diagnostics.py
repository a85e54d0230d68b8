"""What a child says on standard error: always drained, only the last lines kept."""

import asyncio
import os
from collections import deque

LINES = 200
# Enough for a traceback with its context.
LINE_CHARS = 2_000
# A server may print whole documents on one line.
CHUNK = 65_536

FLOOD_PAUSE_S = 0.005
# After a chunk that filled the pipe: a program that writes without end is read at 13 MB/s, not at
# the whole speed of this process.

_LINE_BYTES = 4 * LINE_CHARS


class LogTail:
    """The last lines of a text that comes in pieces, bounded in number and length."""

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque(maxlen=LINES)
        self._open = b""

    def feed(self, chunk: bytes) -> None:
        """Take the next piece; it may end anywhere."""
        # Never more pieces than are kept: the first may hold many old lines, and drops out.
        *lines, rest = (self._open + chunk).rsplit(b"\n", LINES + 1)
        self._lines.extend(line[:_LINE_BYTES] for line in lines)
        self._open = rest[:_LINE_BYTES]

    def lines(self) -> tuple[str, ...]:
        """Oldest first; the line that has not ended is the last."""
        kept = [*self._lines, self._open] if self._open else self._lines
        texts = (line.decode("utf-8", "replace").rstrip("\r") for line in kept)
        return tuple(text[:LINE_CHARS] for text in texts)[-LINES:]


class Drain:
    """Empties a pipe into a tail for as long as somebody writes to it."""

    def __init__(self, fd: int, tail: LogTail) -> None:
        os.set_blocking(fd, False)
        self._fd: int | None = fd
        self._tail = tail
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(fd, self._readable)
        self._pause: asyncio.TimerHandle | None = None

    def finish(self) -> None:
        """Take what the pipe still holds and close it."""
        while self._take():
            continue
        self._close()

    def _readable(self) -> None:
        if self._take() == CHUNK and self._fd is not None:
            self._loop.remove_reader(self._fd)
            self._pause = self._loop.call_later(
                FLOOD_PAUSE_S, self._loop.add_reader, self._fd, self._readable
            )

    def _take(self) -> int:
        """How many bytes there were."""
        if self._fd is None:
            return 0
        try:
            chunk = os.read(self._fd, CHUNK)
        except BlockingIOError:
            return 0
        if not chunk:
            self._close()
            return 0
        self._tail.feed(chunk)
        return len(chunk)

    def _close(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
        if self._fd is not None:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = None
