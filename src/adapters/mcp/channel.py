"""One stream to a peer: messages in, lines out, and its end."""

import asyncio
import itertools
from collections.abc import Sequence
from typing import Protocol

from adapters.mcp.framing import MAX_LINE_BYTES, LineSplitter
from adapters.mcp.unread import ENDS_BYTES
from adapters.mcp.wire import Message, answer_to, read_line
from domain.ports.launching import ByteStream, StreamClosed

MAX_WAITING_LINES = 10_000
# A peer that asks but never reads must not fill our memory with answers.
PIECE_BYTES = 65_536
# Between two pieces everybody else has a turn.
UNASKED_LINES = 256
UNASKED_PAUSE_S = 0.005
# So many lines that nobody asked for (a KiB counts as a line more) cost some 0.5 ms: whoever
# floods us takes a tenth of the loop, and its pipe holds it up.


class Receiver(Protocol):
    """Who is told of what comes in."""

    def receive(self, message: Message) -> None:
        """An answer or a notification came; must neither wait nor raise."""
        ...

    def ended(self, reason: str) -> None:
        """The channel has ended, once; nothing is received after it."""
        ...


class _LineTooLong(Exception):
    """The peer goes over its limit, and not in answer to anybody."""


class Channel:
    """Reads and writes with one task each; requests of a legacy peer are answered here.

    Lines that wait for a full pipe are held by key, so that one not yet sent can be withdrawn.
    A line of more than `line_bytes` ends the channel, unless it is an answer: that ends its call.
    """

    def __init__(self, stream: ByteStream, line_bytes: int = MAX_LINE_BYTES) -> None:
        self.ids = itertools.count(1)
        self.bytes_in = 0
        self.bytes_out = 0
        self.answers_requests = True
        self._stray = 0
        self._unasked = 0
        self._stream = stream
        self._lines = LineSplitter(line_bytes, ENDS_BYTES)
        self._line_bytes = line_bytes
        self._outbox: dict[object, bytes] = {}
        self._loop = asyncio.get_running_loop()
        self._idle: asyncio.Future[None] | None = None
        self._closed: asyncio.Future[str] = self._loop.create_future()
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._receiver: Receiver | None = None

    def start(self, receiver: Receiver) -> None:
        """Begin to read and write."""
        self._receiver = receiver
        self._tasks = (asyncio.create_task(self._read()), asyncio.create_task(self._write()))

    def hand_over(self, receiver: Receiver) -> None:
        """Tell another from now on."""
        self._receiver = receiver

    @property
    def noise_lines(self) -> int:
        """What came in and was no message of use."""
        return self._stray

    @property
    def end_reason(self) -> str | None:
        """Why the channel has ended, None while it is open."""
        return self._closed.result() if self._closed.done() else None

    def count_noise(self, number: int = 1) -> None:
        """A message came that belongs to nothing."""
        self._stray += number

    def post(self, key: object, line: bytes) -> None:
        """Send a line after those before it; a full outbox drops what is keyed None."""
        if key is None:
            if len(self._outbox) >= MAX_WAITING_LINES:
                return
            key = object()
        self._outbox[key] = line
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def waits(self, key: object) -> bool:
        """Whether the line of this key is still here, so that the peer cannot know of it."""
        return key in self._outbox

    def withdraw(self, key: object) -> bool:
        """Take back a line; False when it may already be with the peer."""
        return self._outbox.pop(key, None) is not None

    async def wait_closed(self) -> str:
        """The reason of the end, at any time."""
        return await asyncio.shield(self._closed)

    async def close(self, reason: str) -> None:
        """End the channel; the stream is left alone."""
        self._end(reason)
        others = {task for task in self._tasks if task is not asyncio.current_task()}
        if others:
            await asyncio.wait(others)

    async def _read(self) -> None:
        reason, feed = "reading from the server broke", self._lines.feed
        try:
            while data := await self._stream.read():
                self.bytes_in += len(data)
                for piece in _pieces(data):
                    if piece is not data:
                        await asyncio.sleep(0)
                    lines = feed(piece)
                    if not lines and self._lines.overlong:
                        self._goes_on()
                        await self._pause_if_flooded()
                    for line in lines:
                        self._take(line)
                        if self._unasked:
                            await self._pause_if_flooded()
            for line in self._lines.rest():
                self._take(line)
            reason = "the server closed its output"
        except _LineTooLong:
            reason = f"the server wrote a line of more than {self._line_bytes} bytes"
        except (StreamClosed, OSError):
            reason = "the stream from the server broke"
        finally:
            self._end(reason)

    async def _write(self) -> None:
        reason = "writing to the server broke"
        try:
            while True:
                while not self._outbox:
                    self._idle = self._loop.create_future()
                    await self._idle
                lines, self._outbox = self._outbox, {}
                data = b"".join(lines.values())
                self.bytes_out += len(data)
                await self._stream.write(data)
        except (StreamClosed, OSError):
            reason = "the server closed its input"
        finally:
            self._end(reason)

    def _goes_on(self) -> None:
        """A piece came that does not end a line over the limit."""
        if self._lines.endless:
            raise _LineTooLong
        self._unasked += PIECE_BYTES >> 10

    def _take(self, line: bytes) -> None:
        noise = self._stray
        messages, strays = read_line(line)
        if len(messages) == 1 and messages[0].method is None and not strays:
            self._hand_on(messages[0])  # an answer, as most lines are
            if self._stray == noise:
                return
        elif not messages and self._lines.is_shortened(line):
            raise _LineTooLong
        else:
            self._take_all(messages)
        self._stray += strays
        if self._stray != noise or messages[0].method is not None:
            self._unasked += 1 + (len(line) >> 10)

    def _take_all(self, messages: list[Message]) -> None:
        answers = [answer for message in messages if (answer := self._one(message)) is not None]
        if answers:
            batch = len(messages) > 1
            joined = b"[%b]" % b",".join(answers) if batch else answers[0]
            self.post(None, joined + b"\n")

    async def _pause_if_flooded(self) -> None:
        if self._unasked >= UNASKED_LINES:
            owed, self._unasked = self._unasked, 0
            await asyncio.sleep(UNASKED_PAUSE_S * owed / UNASKED_LINES)

    def _one(self, message: Message) -> bytes | None:
        if message.method is not None and message.id is not None:
            if self.answers_requests:
                return answer_to(message)
            # A modern client must not write answers, nor a modern server requests.
            self._stray += 1
        else:
            self._hand_on(message)
        return None

    def _hand_on(self, message: Message) -> None:
        if self._receiver is not None and not self._closed.done():
            self._receiver.receive(message)

    def _end(self, reason: str) -> None:
        if self._closed.done():
            return
        self._closed.set_result(reason)
        if self._receiver is not None:
            self._receiver.ended(reason)
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()


def _pieces(data: bytes) -> Sequence[bytes]:
    if len(data) <= PIECE_BYTES:
        return (data,)
    return [data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES)]
