"""One life of a server: its child, its session, and the watch over both."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

import msgspec

from domain.errors import Failure
from domain.model.containers import Container
from domain.model.servers import Command, Era, Remote, ServerSpec, Usage
from domain.orchestration.guarded_session import GuardedSession
from domain.orchestration.supervision import RestartPolicy
from domain.orchestration.vitals import QUIET_LOOK_S, Care, End, Vitals
from domain.ports.launching import Child, Exit, Launcher
from domain.ports.mcp import (
    EndedOnProbe,
    HandshakeFailed,
    McpConnector,
    McpSession,
    Opening,
    RemoteConnector,
)
from domain.ports.system import Chance, Clock

logger = logging.getLogger(__name__)

STOP_GRACE = timedelta(seconds=0.8)
# Most real servers exit at once when their input ends, all of 18 within 1.1 s; the ladder has two
# such steps, and all of it must be over within 2 s of a drain.
LAST_WORDS_S = 0.2
# After an exit, answers that are still in the pipe are read for this long.
LIST_TIMEOUT = timedelta(seconds=60)
# A server that cannot list its tools in a minute is not usable.
RELIST_PAUSE_S = 0.2
LONGEST_RELIST_PAUSE_S = 5.0
# Servers announce changes in bursts; one listing answers them all. One that never stops to
# announce is listed ever more seldom, until it is quiet for the longest pause.

Definitions = tuple[Mapping[str, Any], ...]
Listed = Callable[[Definitions], Awaitable[None]]


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What every server's supervision needs of the world."""

    launcher: Launcher[Command]
    containers: Launcher[Container]
    connector: McpConnector
    dialer: RemoteConnector
    clock: Clock
    chance: Chance
    policy: RestartPolicy = RestartPolicy()


class Life:
    """Opened once, watched, ended. `stage` says how far it came.

    `era` is what is known of the server from an earlier life, None where nothing is. Callers use
    `for_callers`, the open session or what guards it.
    """

    def __init__(
        self, spec: ServerSpec, parts: Parts, listed: Listed, era: Era | None, vitals: Vitals
    ) -> None:
        self._spec = spec
        self._care = Care(spec, parts.clock, vitals)
        self._vitals = vitals
        self._parts = parts
        self._listed = listed
        self._changed = asyncio.Event()
        self._child: Child | None = None
        self.session: McpSession | None = None
        self.for_callers: McpSession | None = None
        self.era = era
        self.stage = "launch"

    @property
    def pid(self) -> int | None:
        """The server's process, where it is one."""
        return self._child.pid if self._child is not None else None

    @property
    def container_id(self) -> str | None:
        """The server's container, where it runs in one."""
        return self._child.container_id if self._child is not None else None

    @property
    def usage(self) -> Usage | None:
        """What its processes use."""
        return self._child.usage if self._child is not None else None

    def log_tail(self) -> tuple[str, ...]:
        """The last lines of diagnostics."""
        return self._child.log_tail() if self._child is not None else ()

    async def open(self) -> McpSession:
        """Launch or dial, shake hands, list. Raises what launcher and connectors raise."""
        recipe = self._spec.recipe
        if isinstance(recipe, Remote):
            self.stage = "handshake"
            session = await self._parts.dialer.dial(recipe, self._opening(), self._on_change)
            self.for_callers = GuardedSession(session, self._spec.name, self._vitals.breaker)
        else:
            session = self.for_callers = await self._open_child(recipe)
        self.session = session
        self.era = session.peer.era
        self.stage = "listing"
        await self._list(session)
        self.stage = "run"
        return session

    async def _open_child(self, recipe: Command | Container) -> McpSession:
        try:
            return await self._connect(await self._launch(recipe))
        except EndedOnProbe:
            self.era = Era.LEGACY
            await self.end()
            return await self._connect(await self._launch(recipe))

    def _opening(self) -> Opening:
        return Opening(
            era=self.era,
            probe_timeout=self._spec.probe_timeout,
            start_timeout=self._spec.start_timeout,
            line_bytes=self._spec.limits.line_bytes,
        )

    async def _launch(self, recipe: Command | Container) -> Child:
        self.stage = "launch"
        name, limits = self._spec.name, self._spec.limits
        if isinstance(recipe, Container):
            self._child = await self._parts.containers.launch(name, recipe, limits)
        else:
            self._child = await self._parts.launcher.launch(name, recipe, limits)
        return self._child

    async def _connect(self, child: Child) -> McpSession:
        self.stage = "handshake"
        try:
            return await self._parts.connector.connect(
                child.stream, self._opening(), self._on_change
            )
        except HandshakeFailed as failure:
            try:
                async with asyncio.timeout(LAST_WORDS_S):
                    exit_ = await child.wait()
            except TimeoutError:
                raise failure from None
            raise HandshakeFailed(f"the process {exit_} during the handshake") from failure

    async def _list(self, session: McpSession) -> None:
        if "tools" in session.peer.capabilities:
            await self._listed(await session.list_all("tools/list", "tools", timeout=LIST_TIMEOUT))
        else:
            await self._listed(())

    async def watch(self) -> End:
        """Wait for the end of an opened life; return why it ends, at once."""
        session = self.session
        assert session is not None  # noqa: S101 - it was opened
        exited = asyncio.create_task(self._exited())
        closed = asyncio.create_task(session.wait_closed())
        cares = [
            asyncio.create_task(self._care.canary(session)),
            asyncio.create_task(self._care.age(session)),
        ]
        relisting = asyncio.create_task(self._relist(session))
        try:
            await asyncio.wait({exited, closed, *cares}, return_when=asyncio.FIRST_COMPLETED)
            if closed.done() and self._child is not None:
                await asyncio.wait({exited}, timeout=LAST_WORDS_S)
            if exited.done():
                return End(reason=f"the process {exited.result()}")
            if closed.done():
                return End(reason=closed.result())
            return next(care.result() for care in cares if care.done())
        finally:
            watchers = {exited, closed, relisting, *cares}
            for watcher in watchers:
                watcher.cancel()
            await asyncio.wait(watchers)

    async def _exited(self) -> Exit:
        if self._child is None:
            await asyncio.Event().wait()  # it runs elsewhere: only its session tells of its end
            raise AssertionError
        return await self._child.wait()

    async def _relist(self, session: McpSession) -> None:
        loop = asyncio.get_running_loop()
        pause, listed_at = RELIST_PAUSE_S, float("-inf")
        while True:
            await self._changed.wait()
            quiet = loop.time() - listed_at > LONGEST_RELIST_PAUSE_S
            pause = RELIST_PAUSE_S if quiet else min(2 * pause, LONGEST_RELIST_PAUSE_S)
            await asyncio.sleep(pause)
            self._changed.clear()
            listed_at = loop.time()
            try:
                await self._list(session)
            except Failure as failure:
                logger.warning("%s: listing again failed: %s", self._spec.name, failure.message)

    def _on_change(self, what: str) -> None:
        if what == "tools":
            self._changed.set()

    async def last_words(self) -> None:
        """After the end was seen: let answers that are still in the pipe arrive."""
        if self.session is not None:
            try:
                async with asyncio.timeout(LAST_WORDS_S):
                    await self.session.wait_closed()
            except TimeoutError:
                pass  # a descendant holds the pipe open

    async def quiet(self) -> None:
        """Wait for the calls that came in the moment when nobody used it."""
        while self.session is not None and self.session.traffic.in_flight:  # noqa: ASYNC110
            await asyncio.sleep(QUIET_LOOK_S)

    async def end(self) -> None:
        """End what there is of it; on return no process of it is left."""
        session, self.session = self.session, None
        if session is not None:
            await session.close()
        if self._child is not None:
            await self._child.end(STOP_GRACE)
