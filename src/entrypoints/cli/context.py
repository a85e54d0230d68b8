"""What every command is given, and how one is declared."""

import argparse
from collections.abc import Callable, Mapping
from typing import Any

from domain.errors import Failure
from entrypoints.cli.terminal import Terminal

DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


class WrongUsage(Failure):
    """The command was not written as it must be."""


class Context:
    """One run of one command: its arguments, the environment, the terminal."""

    def __init__(
        self, args: argparse.Namespace, environ: Mapping[str, str], terminal: Terminal
    ) -> None:
        self.args = args
        self.environ = environ
        self.terminal = terminal

    @property
    def json(self) -> bool:
        """Whether the answer is for programs."""
        return bool(self.args.json)


Run = Callable[[Context], int]
Options = Mapping[str, Mapping[str, Any]]


class Commands:
    """A set of commands on the way to being declared."""

    def __init__(self, parser: argparse.ArgumentParser, name: str = "command") -> None:
        self._subparsers = parser.add_subparsers(metavar="COMMAND", required=True, dest=name)

    def add(self, name: str, about: str, run: Run, *also: Options) -> argparse.ArgumentParser:
        """Declare a command with options; returns its parser, which takes more arguments."""
        parser = self._subparsers.add_parser(
            name, help=about, description=about, allow_abbrev=False
        )
        for flags in also:
            for flag, how in flags.items():
                parser.add_argument(f"--{flag.replace('_', '-')}", **how)
        parser.set_defaults(run=run)
        return parser

    def group(self, name: str, about: str) -> "Commands":
        """Declare commands that stand together under one name."""
        parser = self._subparsers.add_parser(
            name, help=about, description=about, allow_abbrev=False
        )
        return Commands(parser, f"{name}_command")
