"""All tools on offer, found by server and name or by full name."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from domain.model.servers import ServerName
from domain.model.tools import Tool
from domain.orchestration.names import full_name, hashed_name
from domain.ports.schemas import ArgumentCheck, SchemaCompiler

logger = logging.getLogger(__name__)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A tool with the compiled check of its arguments."""

    tool: Tool
    check: ArgumentCheck


class Catalogue:
    """The tools of every server as last listed."""

    def __init__(self, compiler: SchemaCompiler) -> None:
        self._compiler = compiler
        self._by_server: dict[ServerName, dict[str, Entry]] = {}
        self._by_full_name: dict[str, Entry] = {}

    def put(self, server: ServerName, definitions: Iterable[Mapping[str, Any]]) -> None:
        """Replace what `server` offers. Of two tools with one name the first stays."""
        self.drop(server)
        entries: dict[str, Entry] = {}
        for definition in definitions:
            name = definition.get("name")
            if not isinstance(name, str) or not name or name in entries:
                logger.warning("%s: a tool without a name of its own is left out", server)
                continue
            entries[name] = self._entry(server, name, definition)
            self._by_full_name[entries[name].tool.full_name] = entries[name]
        self._by_server[server] = entries

    def _entry(self, server: ServerName, name: str, definition: Mapping[str, Any]) -> Entry:
        full = full_name(server, name)
        if full in self._by_full_name:
            full = hashed_name(server, name)
        tool = Tool(server=server, name=name, full_name=full, definition=definition)
        check = self._compiler.compile(tool.input_schema)
        if check.unchecked:
            logger.warning("%s: arguments go unchecked: %s", full, check.unchecked)
        return Entry(tool=tool, check=check)

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
