"""Server-sent events as MCP sends them, without I/O (WHATWG HTML, server-sent events)."""

import re

from adapters.mcp.framing import MAX_LINE_BYTES, LineSplitter

DEFAULT_RETRY_S = 1.0
# Where the server names no time after which to come back.
SHORTEST_RETRY_S = 0.1
# A server that names none at all must not be hammered.
_ID = re.compile(rb"[\x20-\x7e]{1,1024}")
_OURS = frozenset({b"", b"message"})


class Events:
    """Bytes in, the data of whole events out; one stream at a time.

    `last_id` is where a broken stream can be taken up again, None where it cannot, and `retry_s`
    when. `overflowed` is True from a too large event on: nothing after it can be trusted.
    """

    def __init__(self, limit: int = MAX_LINE_BYTES) -> None:
        self.last_id: str | None = None
        self.retry_s = DEFAULT_RETRY_S
        self.overflowed = False
        self._limit = limit
        self.restart()

    def restart(self) -> None:
        """A new stream begins; what the old one left unfinished is dropped."""
        self._lines = LineSplitter(self._limit)
        self._after_return = False
        self._begun = False
        self._kind = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of the events that `piece` completes, in order; empty ones are left out."""
        if not self._begun:
            piece = piece.removeprefix(b"\xef\xbb\xbf")
            self._begun = True
        if self._after_return:
            piece = piece.removeprefix(b"\n")
        if b"\r" in piece:
            self._after_return = piece.endswith(b"\r")
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        elif piece:
            self._after_return = False
        lines = self._lines.feed(piece)
        if self._lines.dropped or self._lines.overlong:
            self.overflowed = True
        whole = []
        for line in lines:
            if line:
                self._take(line)
            elif self._data and (data := self._event()):
                whole.append(data)
            else:
                self._kind = b""
        return whole

    def _take(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._size += len(value)
            if self._size > self._limit:
                self.overflowed = True
                self._data.clear()
            else:
                self._data.append(value)
        elif field == b"event":
            self._kind = value
        elif field == b"id" and (_ID.fullmatch(value) or not value):
            self.last_id = value.decode("ascii") or None
        elif field == b"retry" and re.fullmatch(rb"\d{1,9}", value):
            self.retry_s = max(int(value) / 1000, SHORTEST_RETRY_S)

    def _event(self) -> bytes:
        data = b"\n".join(self._data) if self._kind in _OURS else b""
        self._kind, self._data, self._size = b"", [], 0
        return data
