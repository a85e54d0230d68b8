"""Cutting a byte stream into the lines that each hold one message."""

from domain.model.servers import DEFAULT_LIMITS

MAX_LINE_BYTES = DEFAULT_LIMITS.line_bytes
GAP = b"\x00"
# Stands for what was left out of a line; no JSON text holds it.


class LineSplitter:
    """Bytes in, whole lines out, whatever the pieces they come in.

    A line over the limit is counted in `dropped` and left out up to its newline. With `ends`
    so many bytes of its beginning and of its end stand in its place, with a GAP between.
    """

    def __init__(self, limit: int = MAX_LINE_BYTES, ends: int = 0) -> None:
        self.dropped = 0
        self._limit = limit
        self._ends = ends
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def overlong(self) -> bool:
        """Whether the line under way is over the limit already."""
        return self._size > self._limit

    @property
    def endless(self) -> bool:
        """Whether the line under way is more than twice as long as it may be."""
        return self._size > 2 * self._limit

    def is_shortened(self, line: bytes) -> bool:
        """Whether a line that was fed out lacks its middle."""
        ends = self._ends
        return ends > 0 and len(line) == 2 * ends + len(GAP) and line[ends : ends + 1] == GAP

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, in order, without their newline."""
        lines = data.split(b"\n")
        tail = lines.pop()
        if lines and self._size:
            self._keep(lines[0])
            lines[:1] = self._take()
        if tail:
            self._keep(tail)
        if max(map(len, lines), default=0) <= self._limit:
            return lines
        return [part for line in lines for part in self._fitting(line)]

    def rest(self) -> list[bytes]:
        """The last line, where the stream ended without a newline."""
        return self.feed(b"\n") if self._size else []

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        self._parts.append(part)
        if self._size > self._limit:
            self._parts = [self._shortened(b"".join(self._parts))]

    def _take(self) -> list[bytes]:
        line, overlong = b"".join(self._parts), self.overlong
        self._parts = []
        self._size = 0
        if not overlong:
            return [line]
        self.dropped += 1
        return [line] if self._ends else []

    def _fitting(self, line: bytes) -> list[bytes]:
        if len(line) <= self._limit:
            return [line]
        self.dropped += 1
        return [self._shortened(line)] if self._ends else []

    def _shortened(self, line: bytes) -> bytes:
        if not self._ends:
            return b""
        return line[: self._ends] + GAP + line[-self._ends :]
