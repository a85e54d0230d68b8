"""Checking arguments against a tool's own schema, which is hostile input too."""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Where arguments break the schema: a JSON Pointer ("" is the whole) and one sentence."""

    path: str
    message: str


class ArgumentCheck(Protocol):
    """A compiled schema.

    `unchecked` is empty, or says why the schema cannot be used (it does not compile, it is too
    large or deep, it refers elsewhere): then every input passes and the server decides.
    """

    @property
    def unchecked(self) -> str: ...

    def first_fault(self, arguments: Mapping[str, Any]) -> Fault | None:
        """The first fault found, or None. Its message never repeats a value."""
        ...


class SchemaCompiler(Protocol):
    """Makes checks. Never fetches anything, bounded in time and depth, never raises."""

    def compile(self, schema: Mapping[str, Any]) -> ArgumentCheck:
        """A check that may be used any number of times."""
        ...
