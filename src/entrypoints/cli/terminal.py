"""A person's terminal, or the pipes in its place."""

import json
import shutil
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

CONTROLS = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
# What tools and models say must not move the cursor or retitle the window.
REWRITE = "\r\x1b[K"
# To the line's begin, and empty it (ECMA-48, section 8.3.41).


class Terminal:
    """Where a command reads and writes."""

    def __init__(self, out: TextIO, err: TextIO, into: TextIO) -> None:
        self._out = out
        self._err = err
        self._into = into
        self._status = False

    @property
    def interactive(self) -> bool:
        """Whether a person sits at both ends."""
        return self._into.isatty() and self._out.isatty()

    @property
    def rewritable(self) -> bool:
        """Whether `status` is seen: lines that are rewritten make no sense in a file."""
        return self._err.isatty()

    def status(self, text: str) -> None:
        """Show one line beside what was asked for, until anything else is written."""
        if self.rewritable:
            columns = shutil.get_terminal_size().columns
            self._err.write(REWRITE + fitted(cell(text), columns - 1))
            self._err.flush()
            self._status = True

    def _end_status(self) -> None:
        if self._status:
            self._err.write(REWRITE)
            self._err.flush()
            self._status = False

    def say(self, text: str = "") -> None:
        """Write a line of what was asked for."""
        self._end_status()
        self._out.write(plain(text) + "\n")

    def piece(self, text: str) -> None:
        """Write text that is shown at once and does not end its line."""
        self._end_status()
        self._out.write(plain(text))
        self._out.flush()

    def complain(self, text: str) -> None:
        """Write a line beside what was asked for."""
        self._end_status()
        self._err.write(plain(text) + "\n")
        self._err.flush()

    def json(self, value: Any) -> None:
        """Write a value for programs."""
        self._out.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")

    def json_line(self, value: Any) -> None:
        """Write one of many values for programs, at once."""
        self._end_status()
        self._out.write(json.dumps(value, ensure_ascii=False) + "\n")
        self._out.flush()

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Write rows under their columns; the last column is not padded."""
        lines = [tuple(columns), *(tuple(cell(value) for value in row) for row in rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            padded = (text.ljust(width) for text, width in zip(line, widths, strict=True))
            self.say("  ".join(padded).rstrip())

    def read_all(self) -> str:
        """All that the input holds."""
        return self._into.read()

    def ask(self, prompt: str) -> str | None:
        """The next line of the input, None at its end."""
        self.piece(prompt)
        line = self._into.readline()
        return line.rstrip("\n") if line else None


def plain(text: str) -> str:
    """The text without control characters."""
    return text.translate(CONTROLS)


def fitted(text: str, columns: int) -> str:
    """The beginning of a text that fits into so many columns; some letters take two."""
    for place, letter in enumerate(text):
        columns -= 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        if columns < 0:
            return text[:place]
    return text


def cell(value: object) -> str:
    """A value as one short line."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(cell, value)) or "-"
    return " ".join(plain(str(value)).split())


def fields(terminal: Terminal, record: Mapping[str, Any]) -> None:
    """Write a record, one field a line."""
    shown = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in record.items()
        if value not in (None, "", [], {})
    }
    width = max(map(len, shown), default=0)
    for name, value in shown.items():
        terminal.say(f"{name.ljust(width)}  {value}")
