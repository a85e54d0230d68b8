"""The stand-in system and the command of the command line's own tests."""

from tests.cli.conftest import command, system

__all__ = ["command", "system"]
