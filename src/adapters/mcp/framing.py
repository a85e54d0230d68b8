"""Cutting a byte stream into the lines that each hold one message."""

MAX_LINE_BYTES = 16 * 1024 * 1024
# Large enough for an image or a file in a result; a peer cannot make us hold more than this.


class LineSplitter:
    """Bytes in, whole lines out, whatever the pieces they come in.

    A line over the limit is left out up to its newline and counted in `dropped`: its call runs
    into its timeout and the stream lives on.
    """

    def __init__(self, limit: int = MAX_LINE_BYTES) -> None:
        self.dropped = 0
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def overlong(self) -> bool:
        """Whether the line under way is over the limit already."""
        return self._size > self._limit

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, in order, without their newline."""
        lines = data.split(b"\n")
        tail = lines.pop()
        if lines and self._size:
            self._keep(lines[0])
            lines[:1] = self._take()
        if tail:
            self._keep(tail)
        fitting = [line for line in lines if len(line) <= self._limit]
        self.dropped += len(lines) - len(fitting)
        return fitting

    def rest(self) -> list[bytes]:
        """The last line, where the stream ended without a newline."""
        return self.feed(b"\n") if self._size else []

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size <= self._limit:
            self._parts.append(part)
        else:
            self._parts.clear()

    def _take(self) -> list[bytes]:
        fits = self._size <= self._limit
        line = b"".join(self._parts)
        self._parts = []
        self._size = 0
        self.dropped += not fits
        return [line] if fits else []
