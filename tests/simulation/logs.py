"""The log of a run, as part of its trace; an error in it is a broken rule."""

import logging
from types import TracebackType
from typing import Self

from tests.simulation.journal import Journal


class Logs(logging.Handler):
    """Takes every record from warnings on while the block lasts, and keeps them from others."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(logging.WARNING)
        self._journal = journal
        self._root = logging.getLogger()
        self._before = (self._root.handlers, self._root.level)

    def emit(self, record: logging.LogRecord) -> None:
        """Note one record."""
        message = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            message += f" ({record.exc_info[1]!r})"
        self._journal.note("log", message)
        if record.levelno >= logging.ERROR:
            self._journal.broke(f"an error was logged: {message}")

    def __enter__(self) -> Self:
        self._root.handlers = [self]
        self._root.setLevel(logging.WARNING)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._root.handlers, level = self._before
        self._root.setLevel(level)
