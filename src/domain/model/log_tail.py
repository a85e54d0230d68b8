"""The last lines of a text that comes in pieces."""

from collections import deque

LINES = 200
# Enough for a traceback with its context.
LINE_CHARS = 2_000
# A server may print whole documents on one line.
_LINE_BYTES = 4 * LINE_CHARS


class LogTail:
    """The last lines of a text that comes in pieces, bounded in number and length.

    `ended` counts all lines that were ended so far, those that are no longer kept too.
    """

    def __init__(self) -> None:
        self.ended = 0
        self._lines: deque[bytes] = deque(maxlen=LINES)
        self._open = b""

    def feed(self, chunk: bytes) -> None:
        """Take the next piece; it may end anywhere."""
        # Never more pieces than are kept: the first may hold many old lines, and drops out.
        self.ended += chunk.count(b"\n")
        *lines, rest = (self._open + chunk).rsplit(b"\n", LINES + 1)
        self._lines.extend(line[:_LINE_BYTES] for line in lines)
        self._open = rest[:_LINE_BYTES]

    def lines(self) -> tuple[str, ...]:
        """Oldest first; the line that has not ended is the last."""
        kept = [*self._lines, self._open] if self._open else self._lines
        texts = (line.decode("utf-8", "replace").rstrip("\r") for line in kept)
        return tuple(text[:LINE_CHARS] for text in texts)[-LINES:]

    def ended_since(self, count: int) -> tuple[str, ...]:
        """The lines that were ended after the first `count`, as far as they are kept."""
        fresh = min(self.ended - count, len(self._lines))
        whole = self.lines()[: -1 if self._open else None]
        return whole[-fresh:] if fresh > 0 else ()
