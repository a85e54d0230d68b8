"""Servers and their remembered tools as rows."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, text

from adapters.sql.dialect import Now
from adapters.sql.statements import Statements
from adapters.sql.tables import servers, tool_lists
from domain.model.servers import ServerExists, ServerName, ServerNotFound, ServerSpec

ADD = insert(servers).values(created_at=Now())
LIST = select(servers.c.spec).order_by(servers.c.name)
REMOVE = delete(servers).where(servers.c.name == bindparam("this")).returning(servers.c.name)
KEEP_TOOLS = text(
    "INSERT INTO tool_lists (digest, tools, revision) VALUES (:digest, :tools, 1)"
    " ON CONFLICT (digest) DO UPDATE"
    " SET tools = excluded.tools, revision = tool_lists.revision + 1"
).bindparams(bindparam("tools", type_=tool_lists.c.tools.type))
KNOWN_TOOLS = select(tool_lists.c.tools).where(tool_lists.c.digest == bindparam("digest"))

REVISIONS = select(tool_lists.c.digest, tool_lists.c.revision)


class SqlServers:
    """The servers of one transaction."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def add(self, spec: ServerSpec) -> None:
        exists = ServerExists(f"The server {spec.name!r} exists.", name=spec.name)
        values = {"name": spec.name, "spec": spec}
        await self._statements.rows(ADD, values, {"pk_servers": exists})

    async def list(self) -> tuple[ServerSpec, ...]:
        return tuple(row.spec for row in await self._statements.rows(LIST))

    async def remove(self, name: ServerName) -> None:
        if await self._statements.first(REMOVE, {"this": name}) is None:
            raise ServerNotFound(f"There is no server {name!r}.", name=name)

    async def keep_tools(self, digest: str, tools: tuple[Mapping[str, Any], ...]) -> None:
        await self._statements.rows(KEEP_TOOLS, {"digest": digest, "tools": tools})

    async def known_tools(self, digest: str) -> tuple[Mapping[str, Any], ...] | None:
        row = await self._statements.first(KNOWN_TOOLS, {"digest": digest})
        return None if row is None else tuple(row.tools)

    async def revisions(self) -> Mapping[str, int]:
        return {row.digest: row.revision for row in await self._statements.rows(REVISIONS)}
