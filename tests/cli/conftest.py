"""Running a command as a person would, without a process."""

import io
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from entrypoints.cli.main import run
from entrypoints.cli.terminal import Terminal
from tests.cli.system import System, running


class Ran(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str


class Tty(io.StringIO):
    """A text stream with a person at its end."""

    def isatty(self) -> bool:
        return True


Command = Callable[..., Ran]


@pytest.fixture
def system() -> Iterator[System]:
    with running() as system:
        yield system


@pytest.fixture
def command(system: System) -> Command:
    """Runs `sutazai WORDS...` against the stand-in."""

    def run_it(*words: str, said: str = "", tty: bool = False, **environ: str) -> Ran:
        kind = Tty if tty else io.StringIO
        out, err = kind(), io.StringIO()
        terminal = Terminal(out, err, kind(said))
        code = run(words, {"SUTAZAI_URL": system.url, "HOME": "/home/ada", **environ}, terminal)
        return Ran(code, out.getvalue(), err.getvalue())

    return run_it
