"""All servers of this system: what is to run, its runners, and what they offer."""

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, TypeVar

from domain.model.containers import Container
from domain.model.keys import Once
from domain.model.servers import (
    BROKEN,
    Origin,
    ServerExists,
    ServerName,
    ServerNotFound,
    ServerNotRemovable,
    ServerRecord,
    ServerSpec,
    ServerState,
    Sessions,
    StartPolicy,
)
from domain.model.tools import Tool
from domain.once import acted_once
from domain.orchestration import supervision
from domain.orchestration.catalogue import Catalogue
from domain.orchestration.group import Group, Member
from domain.orchestration.keyed import KeyedGroup
from domain.orchestration.life import Definitions, Parts
from domain.orchestration.secrets import told
from domain.orchestration.shared import SharedGroup
from domain.orchestration.trust import Trust
from domain.ports.schemas import SchemaCompiler
from domain.ports.storage import StorageUnavailable, Transactions

logger = logging.getLogger(__name__)

T = TypeVar("T")

_OFFERING = frozenset(ServerState) - {
    ServerState.DISABLED,
    ServerState.STOPPING,
    ServerState.STOPPED,
}


_HOMES = {
    Origin.FILE: "comes from a file",
    Origin.BUNDLED: "comes from this system itself",
    Origin.KNOWN: "is part of the catalogue",
}


class Fleet:
    """Runs the given specs and those kept in the store, eager ones at once where it is `eager`.

    Of two with one name a given one goes before a kept one, and that before a known one.
    """

    def __init__(
        self,
        parts: Parts,
        transactions: Transactions,
        compiler: SchemaCompiler,
        given: Iterable[ServerSpec],
        *,
        eager: bool = True,
    ) -> None:
        self._parts = parts
        self._transactions = transactions
        self._given = tuple(given)
        self._eager = eager
        self._groups: dict[ServerName, Group] = {}
        self._trusts: dict[ServerName, Trust] = {}
        self._works: set[asyncio.Task[Any]] = set()
        self._unsaved: dict[str, Definitions] = {}
        self._saving: asyncio.Task[None] | None = None
        self.catalogue = Catalogue(compiler)
        self.started = False

    async def start(self) -> None:
        """End what an earlier life left, then begin every eager server; waits for none of them."""
        await asyncio.gather(self._parts.launcher.sweep(), self._parts.containers.sweep())
        async with self._transactions.read() as transaction:
            kept = await transaction.servers.list()
            catalogue = [spec for spec in self._given if spec.origin is Origin.KNOWN]
            named = [spec for spec in self._given if spec.origin is not Origin.KNOWN]
            specs = {spec.name: spec for spec in (*catalogue, *kept, *named)}
            known = {
                spec.name: await transaction.servers.known_tools(spec.digest)
                for spec in specs.values()
            }
        for spec in kept:
            if specs[spec.name] is not spec:
                logger.warning("%s: the entry of the file hides the one kept", spec.name)
        for spec in specs.values():
            self._enlist(spec, known[spec.name])
        self.started = True

    async def stop(self) -> None:
        """End every server at the same time; on return nothing of them is left."""
        self.started = False
        if self._works:
            await asyncio.wait(self._works)
        groups = self._groups.values()
        await asyncio.gather(*(group.close("the system is stopping") for group in groups))
        if self._works:
            await asyncio.wait(self._works)

    def _enlist(self, spec: ServerSpec, known: Definitions) -> Group:
        trust = Trust(spec, known)

        async def listed(definitions: Definitions) -> None:
            if trust.listed(definitions, self._parts.clock.now()):
                self._offer(spec, trust)

        shared = spec.sessions is Sessions.SHARED
        group = (SharedGroup if shared else KeyedGroup)(spec, self._parts, listed)
        self._groups[spec.name] = group
        self._trusts[spec.name] = trust
        if known:
            self.catalogue.put(spec.name, known)
        if self._eager and spec.start is StartPolicy.EAGER and not spec.problem:
            group.start()
        return group

    def _offer(self, spec: ServerSpec, trust: Trust) -> None:
        self.catalogue.put(spec.name, trust.offered)
        self._keep(spec.digest, trust.kept)

    def trust(self, name: str) -> Trust:
        """What is known of a server's tools. Raises ServerNotFound."""
        return self._trusts[self.group(name).spec.name]

    def approve(self, name: str) -> None:
        """Trust the tools of a server as they were last listed. Raises ServerNotFound."""
        spec, trust = self.group(name).spec, self.trust(name)
        trust.approve()
        self._offer(spec, trust)

    def _keep(self, digest: str, definitions: Definitions) -> None:
        """Store the tools soon: one write for all that comes while another is under way."""
        self._unsaved[digest] = definitions
        if self._saving is None or self._saving.done():
            self._saving = self._begin(self._save())

    async def _save(self) -> None:
        while self._unsaved:
            lists, self._unsaved = self._unsaved, {}
            try:
                async with self._transactions.begin() as transaction:
                    for digest, definitions in lists.items():
                        await transaction.servers.keep_tools(digest, definitions)
            except StorageUnavailable as failure:
                logger.warning("%d lists of tools were not kept: %s", len(lists), failure.message)

    def _begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Work that is carried out to its end, also when whoever asked for it has left."""
        task = asyncio.create_task(work)
        self._works.add(task)
        task.add_done_callback(self._works.discard)
        return task

    async def add(self, spec: ServerSpec, once: Once | None = None) -> ServerRecord:
        """Keep a new spec and begin it, in place of a known one; its secrets come back masked.

        Raises ServerExists, KeyReused, KeyInFlight.
        """
        return await asyncio.shield(self._begin(self._add(spec, once)))

    async def _add(self, spec: ServerSpec, once: Once | None) -> ServerRecord:
        async with self._transactions.begin() as transaction:

            async def add() -> ServerRecord:
                self.require_free(spec.name)
                await transaction.servers.add(spec)
                return told(supervision.begun(spec, self._parts.clock.now()))

            record, anew = await acted_once(transaction, spec.owner, once, ServerRecord, add)
            known = await transaction.servers.known_tools(spec.digest)
        if anew:
            await self._take_in(spec, known)
        return record

    def require_free(self, name: ServerName) -> None:
        """Raises ServerExists where a new server could not have this name."""
        before = self._groups.get(name)
        if before is not None and before.spec.origin is not Origin.KNOWN:
            raise ServerExists(f"A server {name!r} exists already.", server=name)

    async def _take_in(self, spec: ServerSpec, known: Definitions) -> None:
        before = self._groups.get(spec.name)
        if before is not None:
            await before.close("replaced by one of the same name")
            self.catalogue.drop(spec.name)
        self._enlist(spec, known)

    async def remove(self, name: ServerName) -> None:
        """End a server that came by the API and forget it.

        A known one of the same name is back at the next start. Raises ServerNotRemovable.
        """
        await asyncio.shield(self._begin(self._remove(name)))

    async def _remove(self, name: ServerName) -> None:
        group = self.group(name)
        spec = group.spec
        if spec.origin is not Origin.API:
            raise ServerNotRemovable(
                f"The server {name!r} {_HOMES[spec.origin]} and cannot be removed here.",
                server=name,
            )
        async with self._transactions.begin() as transaction:
            await transaction.servers.remove(name)
        await group.close("removed")
        self._groups.pop(name, None)
        self._trusts.pop(name, None)
        self.catalogue.drop(name)

    def wake_containers(self) -> None:
        """An engine is back: what waits for its next try in a container is tried now."""
        for group in self._groups.values():
            if isinstance(group.spec.recipe, Container) and group.record.state in BROKEN:
                group.start()

    def group(self, name: str) -> Group:
        """Raises ServerNotFound."""
        group = self._groups.get(ServerName(name))
        if group is None:
            raise ServerNotFound(f"There is no server {name!r}.", server=name)
        return group

    def records(self) -> tuple[ServerRecord, ...]:
        """How all servers are now, by name."""
        return tuple(self._groups[name].record for name in sorted(self._groups))

    def members(self) -> Mapping[ServerName, tuple[Member, ...]]:
        """All instances of all servers, by name."""
        return {name: self._groups[name].members() for name in sorted(self._groups)}

    @property
    def waiting(self) -> int:
        """How many calls wait because their server has enough of them."""
        return sum(group.waiting for group in self._groups.values())

    def tools(self, server: str | None = None) -> tuple[Tool, ...]:
        """Tools on offer by full name, of all servers or of one. Raises ServerNotFound."""
        if server is None:
            groups = [self._groups[name] for name in sorted(self._groups)]
        else:
            groups = [self.group(server)]
        offered = (
            tool
            for group in groups
            if group.record.state in _OFFERING
            for tool in self.catalogue.of(group.spec.name)
        )
        return tuple(sorted(offered, key=lambda tool: tool.full_name))
