"""All tools on offer, found by server and name or by full name."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from domain.model.servers import ServerName
from domain.model.tools import ArgumentsInvalid, Tool
from domain.orchestration.names import full_name, hashed_name
from domain.ports.schemas import ArgumentCheck, SchemaCompiler

logger = logging.getLogger(__name__)


class Entry:
    """A tool with the check of its arguments, compiled when it is first wanted.

    A server may list thousands of tools whose schemas take long: each costs its own callers.
    """

    __slots__ = ("_check", "_compiler", "tool")

    def __init__(self, tool: Tool, compiler: SchemaCompiler) -> None:
        self.tool = tool
        self._compiler = compiler
        self._check: ArgumentCheck | None = None

    @property
    def check(self) -> ArgumentCheck:
        """The compiled check; always the same."""
        if self._check is None:
            self._check = self._compiler.compile(self.tool.input_schema)
            if self._check.unchecked:
                logger.warning(
                    "%s: arguments go unchecked: %s", self.tool.full_name, self._check.unchecked
                )
        return self._check

    def require_fit(self, arguments: Mapping[str, Any]) -> None:
        """Raises ArgumentsInvalid."""
        fault = self.check.first_fault(arguments)
        if fault is not None:
            where = fault.path or "the arguments"
            raise ArgumentsInvalid(
                f"{where}: {fault.message}", path=fault.path, tool=self.tool.name
            )


class Catalogue:
    """The tools of every server as last listed."""

    def __init__(self, compiler: SchemaCompiler) -> None:
        self._compiler = compiler
        self._by_server: dict[ServerName, dict[str, Entry]] = {}
        self._by_full_name: dict[str, Entry] = {}

    def put(self, server: ServerName, definitions: Iterable[Mapping[str, Any]]) -> None:
        """Replace what `server` offers. Of two tools with one name the first stays."""
        before = self._by_server.get(server, {})
        self.drop(server)
        entries: dict[str, Entry] = {}
        left_out = 0
        for definition in definitions:
            name = definition.get("name")
            full = self._free_name(server, name) if isinstance(name, str) else None
            if not name or full is None or name in entries:
                left_out += 1
                continue
            entry = before.get(name)
            if entry is None or entry.tool.definition != definition or entry.tool.full_name != full:
                tool = Tool(server=server, name=name, full_name=full, definition=definition)
                entry = Entry(tool, self._compiler)
            entries[name] = self._by_full_name[full] = entry
        self._by_server[server] = entries
        if left_out:
            logger.warning(
                "%s: %d tools without a name of their own are left out", server, left_out
            )

    def _free_name(self, server: ServerName, name: str) -> str | None:
        """The tool's full name, None where even the hashed one is another's."""
        full = full_name(server, name)
        if full in self._by_full_name:
            full = hashed_name(server, name)
        return None if full in self._by_full_name else full

    def drop(self, server: ServerName) -> None:
        """Forget what `server` offered."""
        for entry in self._by_server.pop(server, {}).values():
            del self._by_full_name[entry.tool.full_name]

    def get(self, server: ServerName, name: str) -> Entry | None:
        """One tool of one server."""
        return self._by_server.get(server, {}).get(name)

    def find(self, full: str) -> Entry | None:
        """One tool by its full name."""
        return self._by_full_name.get(full)

    def of(self, server: ServerName) -> tuple[Tool, ...]:
        """The tools of one server in its own order."""
        return tuple(entry.tool for entry in self._by_server.get(server, {}).values())
