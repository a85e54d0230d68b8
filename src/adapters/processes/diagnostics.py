"""What a child says on standard error: always drained, only the last lines kept."""

import asyncio
import os

from domain.model.log_tail import LogTail

CHUNK = 65_536

FLOOD_PAUSE_S = 0.005
# After a chunk that filled the pipe: a program that writes without end is read at 13 MB/s, not at
# the whole speed of this process.


class Drain:
    """Empties a pipe into a tail for as long as somebody writes to it."""

    def __init__(self, fd: int, tail: LogTail) -> None:
        os.set_blocking(fd, False)
        self._fd: int | None = fd
        self._tail = tail
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(fd, self._readable)
        self._pause: asyncio.TimerHandle | None = None
        self.taken = 0

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
        self.taken += len(chunk)
        return len(chunk)

    def _close(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
        if self._fd is not None:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = None
