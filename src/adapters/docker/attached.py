"""A container's standard streams over one upgraded connection."""

import asyncio
import os
import socket
from contextlib import suppress
from typing import Any

import anyio
import httpcore
import httpx

from adapters.docker.wire import FrameBroken, Frames, Source
from domain.model.log_tail import LogTail
from domain.ports.launching import StreamClosed

CHUNK = 65_536
READ_LIMIT = 1_048_576
# The port's bound on one read, and on what is held for a slow reader.
FLOOD_PAUSE_S = 0.005
# After a full piece of diagnostics: one that writes without end is read at 13 MB/s.
GONE = (httpcore.NetworkError, httpcore.ProtocolError, OSError, anyio.ClosedResourceError)


class AttachedStream:
    """Standard input and output; diagnostics go to `tail` as they come.

    All three share a connection: while nobody reads standard output for long, diagnostics wait
    too.
    """

    def __init__(self, response: httpx.Response, tail: LogTail) -> None:
        self._response = response
        self._network: Any = response.extensions["network_stream"]
        self._tail = tail
        self._loop = asyncio.get_running_loop()
        self._turn = asyncio.Lock()
        self._chunks: list[bytes] = []
        self._held = 0
        self.taken = 0
        # Bytes of both kinds of output so far.
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._input_ended = False
        self.ended = asyncio.Event()
        self._pump = self._loop.create_task(self._pump_all())

    async def read(self) -> bytes:
        while not self._chunks and not self.ended.is_set():
            self._changed.clear()
            await self._changed.wait()
        data, rest = self._taken()
        self._chunks, self._held = ([rest] if rest else []), len(rest)
        self._room.set()
        return data

    def _taken(self) -> tuple[bytes, bytes]:
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        return data[:READ_LIMIT], data[READ_LIMIT:]

    async def write(self, data: bytes) -> None:
        await self._turn.acquire()
        if self._input_ended or self.ended.is_set():
            self._turn.release()
            raise StreamClosed("The container's standard input is closed.")
        # A task of its own: whoever leaves in the middle must not cut a message in two.
        sending = self._loop.create_task(self._send(data))
        sending.add_done_callback(self._sent)
        if not await asyncio.shield(sending):
            raise StreamClosed("The container has ended.")

    async def _send(self, data: bytes) -> bool:
        try:
            await self._network.write(data)
        except GONE:
            return False
        return True

    def _sent(self, sending: asyncio.Task[bool]) -> None:
        self._turn.release()
        if not sending.cancelled() and sending.exception() is None and not sending.result():
            self._input_ended = True

    def end_input(self) -> bool:
        """End standard input; False where the connection cannot be ended by half (TLS)."""
        self._input_ended = True
        if self._network.get_extra_info("ssl_object") is not None:
            return False
        with suppress(OSError):
            # The loop's own view of a socket may lack it; a copy of the descriptor has it.
            descriptor = os.dup(self._network.get_extra_info("socket").fileno())
            with socket.socket(fileno=descriptor) as copy:
                copy.shutdown(socket.SHUT_WR)
        return True

    async def aclose(self) -> None:
        """Give the connection up; what was read can still be taken."""
        self._input_ended = True
        self._pump.cancel()
        await asyncio.wait({self._pump})
        with suppress(*GONE):
            await self._response.aclose()

    async def _pump_all(self) -> None:
        frames = Frames()
        try:
            while data := await self._network.read(CHUNK):
                told = self._hand_on(frames, data)
                if told >= CHUNK // 2:
                    await asyncio.sleep(FLOOD_PAUSE_S)
                while self._held >= READ_LIMIT:
                    self._room.clear()
                    await self._room.wait()
        except (*GONE, FrameBroken):
            pass  # it ends here, whatever the other side thinks
        finally:
            self.ended.set()
            self._changed.set()

    def _hand_on(self, frames: Frames, data: bytes) -> int:
        """Take what came; the number of bytes of diagnostics in it."""
        told = 0
        for source, part in frames.feed(data):
            self.taken += len(part)
            if source is Source.STDOUT:
                self._chunks.append(part)
                self._held += len(part)
                self._changed.set()
            elif source is Source.STDERR:
                self._tail.feed(part)
                told += len(part)
        return told
