"""Servers and their remembered tools, kept in memory."""

from collections.abc import Mapping
from typing import Any

from adapters.inmemory.state import Rows, own
from domain.model.servers import ServerExists, ServerName, ServerNotFound, ServerSpec


class MemoryServers:
    """The servers of one transaction."""

    def __init__(self, rows: Rows) -> None:
        self._servers = rows.state.servers
        self._tools = rows.state.tools
        self._revisions = rows.state.revisions

    async def add(self, spec: ServerSpec) -> None:
        if spec.name in self._servers:
            raise ServerExists(f"The server {spec.name!r} exists.", name=spec.name)
        self._servers[spec.name] = own(spec)

    async def list(self) -> tuple[ServerSpec, ...]:
        return tuple(own(self._servers[name]) for name in sorted(self._servers))

    async def remove(self, name: ServerName) -> None:
        if name not in self._servers:
            raise ServerNotFound(f"There is no server {name!r}.", name=name)
        del self._servers[name]

    async def keep_tools(self, digest: str, tools: tuple[Mapping[str, Any], ...]) -> None:
        self._tools[digest] = own(tools)
        self._revisions[digest] = self._revisions.get(digest, 0) + 1

    async def known_tools(self, digest: str) -> tuple[Mapping[str, Any], ...] | None:
        return own(self._tools.get(digest))

    async def revisions(self) -> Mapping[str, int]:
        return dict(self._revisions)
