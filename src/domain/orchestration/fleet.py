"""All servers of this system: what is to run, its runners, and what they offer."""

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from contextlib import aclosing
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
from domain.orchestration import supervision
from domain.orchestration.catalogue import Catalogue
from domain.orchestration.group import Group, Member
from domain.orchestration.keyed import KeyedGroup
from domain.orchestration.life import Definitions, Parts
from domain.orchestration.roster import Roster
from domain.orchestration.secrets import told
from domain.orchestration.shared import SharedGroup
from domain.orchestration.trust import Trust
from domain.ports.schemas import SchemaCompiler
from domain.ports.storage import StorageUnavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")

_OFFERING = frozenset(ServerState) - {
    ServerState.DISABLED,
    ServerState.STOPPING,
    ServerState.STOPPED,
}


LOOK_PAUSE_S = 0.1
# Calls of names that nobody knows cost the store ten looks a second at most.

_HOMES = {
    Origin.FILE: "comes from a file",
    Origin.BUNDLED: "comes from this system itself",
    Origin.KNOWN: "is part of the catalogue",
}


class Fleet:
    """Runs what the roster says, eager ones at once where the fleet is `eager`.

    What other processes change in the roster is met here too, some seconds later at most.
    """

    def __init__(
        self, parts: Parts, roster: Roster, compiler: SchemaCompiler, *, eager: bool = True
    ) -> None:
        self._parts = parts
        self._roster = roster
        self._eager = eager
        self._groups: dict[ServerName, Group] = {}
        self._trusts: dict[ServerName, Trust] = {}
        self._works: set[asyncio.Task[Any]] = set()
        self._saving: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None
        self._change = asyncio.Lock()
        # One change of the groups at a time: each is a look at the store and what follows from it.
        self.catalogue = Catalogue(compiler)
        self.started = False

    async def start(self) -> None:
        """End what an earlier life left, then begin every eager server; waits for none of them."""
        await asyncio.gather(self._parts.launcher.sweep(), self._parts.containers.sweep())
        await self._meet()
        self.started = True
        self._following = asyncio.create_task(self._follow(), name="roster")

    async def stop(self) -> None:
        """End every server at the same time; on return nothing of them is left."""
        self.started = False
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait({self._following})
        if self._works:
            await asyncio.wait(self._works)
        groups = self._groups.values()
        await asyncio.gather(*(group.close("the system is stopping") for group in groups))
        if self._works:
            await asyncio.wait(self._works)

    async def _follow(self) -> None:
        """Meet the roster again and again."""
        missed = False
        async with aclosing(self._roster.changes()) as changes:
            async for _ in changes:
                try:
                    await asyncio.shield(self._begin(self._meet()))
                    missed = False
                except StorageUnavailable as failure:
                    if not missed:
                        logger.warning("the servers stay as they were: %s", failure.message)
                    missed = True

    async def _meet(self) -> None:
        """Be as the roster says now: end what is gone, begin what is new, learn what was listed."""
        async with self._change:
            running = {name: group.spec for name, group in self._groups.items()}
            listed = await self._roster.read(running)
            others = [
                name
                for name, spec in running.items()
                if name not in listed or listed[name].spec != spec
            ]
            await asyncio.gather(*(self._dismiss(name, "removed elsewhere") for name in others))
            for name, entry in listed.items():
                if name not in self._groups:
                    self._enlist(entry.spec, entry.tools)
                elif entry.tools is not None and self._trusts[name].learned(entry.tools):
                    self.catalogue.put(name, self._trusts[name].offered)

    def known(self, name: str) -> Group | None:
        """A server that is known here."""
        return self._groups.get(ServerName(name))

    async def find(self, name: str) -> Group:
        """A server by its name, also one that another process has just added.

        Raises ServerNotFound, StorageUnavailable.
        """
        if self.started and ServerName(name) not in self._groups:
            if self._looking is None:
                self._looking = self._begin(self._look())
            await asyncio.shield(self._looking)
        return self.group(name)

    async def _look(self) -> None:
        await asyncio.sleep(LOOK_PAUSE_S)
        self._looking = None  # what comes into the store from here on may not be seen
        await self._meet()

    def _enlist(self, spec: ServerSpec, known: Definitions | None) -> Group:
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
        self._roster.keep_tools(digest, definitions)
        if self._saving is None or self._saving.done():
            self._saving = self._begin(self._roster.save())

    def _begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Work that is carried out to its end, also when whoever asked for it has left."""
        task = asyncio.create_task(work)
        self._works.add(task)
        task.add_done_callback(self._works.discard)
        task.add_done_callback(_seen)
        return task

    async def add(self, spec: ServerSpec, once: Once | None = None) -> ServerRecord:
        """Keep a new spec and begin it, in place of a known one; its secrets come back masked.

        Raises ServerExists, KeyReused, KeyInFlight.
        """
        return await asyncio.shield(self._begin(self._add(spec, once)))

    async def _add(self, spec: ServerSpec, once: Once | None) -> ServerRecord:
        def begun() -> ServerRecord:
            self.require_free(spec.name)
            return told(supervision.begun(spec, self._parts.clock.now()))

        async with self._change:
            record, listed = await self._roster.add(spec, once, begun)
            if listed is not None:
                if spec.name in self._groups:
                    await self._dismiss(spec.name, "replaced by one of the same name")
                self._enlist(spec, listed.tools)
        return record

    def require_free(self, name: ServerName) -> None:
        """Raises ServerExists where a new server could not have this name."""
        before = self._groups.get(name)
        if before is not None and before.spec.origin is not Origin.KNOWN:
            raise ServerExists(f"A server {name!r} exists already.", server=name)

    async def remove(self, name: ServerName) -> None:
        """End a server that came by the API and forget it.

        A known one of the same name is back then. Raises ServerNotFound, ServerNotRemovable.
        """
        await asyncio.shield(self._begin(self._remove(name)))

    async def _remove(self, name: ServerName) -> None:
        spec = (await self.find(name)).spec
        if spec.origin is not Origin.API:
            raise ServerNotRemovable(
                f"The server {name!r} {_HOMES[spec.origin]} and cannot be removed here.",
                server=name,
            )
        async with self._change:
            await self._roster.remove(name)
            if name in self._groups:
                await self._dismiss(name, "removed")

    async def _dismiss(self, name: ServerName, reason: str) -> None:
        """End a server that is no longer to run as it is; nothing of it is known after this."""
        await self._groups[name].close(reason)
        del self._groups[name], self._trusts[name]
        self.catalogue.drop(name)

    def wake_containers(self) -> None:
        """An engine is back: what waits for its next try in a container is tried now."""
        for group in self._groups.values():
            if isinstance(group.spec.recipe, Container) and group.record.state in BROKEN:
                group.start()

    def group(self, name: str) -> Group:
        """A server that is known here. Raises ServerNotFound."""
        group = self.known(name)
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

    async def first_lists(self, deadline: float) -> None:
        """Wait until `deadline` (monotonic) for those that start and never listed a tool."""
        new = [group for name, group in self._groups.items() if not self.catalogue.of(name)]
        await asyncio.gather(*(group.come_up(deadline) for group in new))

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


def _seen(task: asyncio.Task[Any]) -> None:
    """Whoever waits for it is told of its failure; nobody may be left who does."""
    if not task.cancelled():
        task.exception()
