"""One server's life: started, watched, started again, ended."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

import msgspec

from domain.errors import Failure
from domain.model.servers import (
    SERVING,
    Era,
    ServerDown,
    ServerRecord,
    ServerSpec,
    ServerState,
    StartFailure,
)
from domain.model.tools import CallTimedOut
from domain.orchestration import supervision
from domain.orchestration.supervision import RestartPolicy
from domain.ports.launching import Child, Launcher
from domain.ports.mcp import EndedOnProbe, HandshakeFailed, McpConnector, McpSession, Opening
from domain.ports.system import Chance, Clock

logger = logging.getLogger(__name__)

STOP_GRACE = timedelta(seconds=1)
# Of 18 real servers all ended within 1.1 s of their input's end; two such steps keep under 3 s.
LAST_WORDS_S = 0.2
# After an exit, answers that are still in the pipe are read for this long.
RELIST_PAUSE_S = 0.2
# Servers announce changes in bursts; one listing answers them all.

Definitions = tuple[Mapping[str, Any], ...]
Listed = Callable[[Definitions], Awaitable[None]]

_RUNNING = frozenset({ServerState.STARTING, ServerState.READY, ServerState.DEGRADED})
_ENDED = frozenset({ServerState.STOPPED, ServerState.DISABLED})


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What every runner needs of the world."""

    launcher: Launcher
    connector: McpConnector
    clock: Clock
    chance: Chance
    policy: RestartPolicy = RestartPolicy()


class Runner:
    """Keeps one server as it is wanted, and its one record true.

    `listed` is given the tool definitions of each listing before they are on offer. A life runs
    in one task of its own; no caller waits for longer than it asks to.
    """

    def __init__(self, spec: ServerSpec, parts: Parts, listed: Listed) -> None:
        self._spec = spec
        self._parts = parts
        self._listed = listed
        self._record = supervision.new_record(spec, parts.clock.now())
        self._era: Era | None = None
        self._stage = ""
        self._child: Child | None = None
        self._session: McpSession | None = None
        self._task: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        self._changed = asyncio.Event()
        self._nudge = asyncio.Event()
        self._last_ok_at: float | None = None

    @property
    def record(self) -> ServerRecord:
        """How the server is now; `last_ok` is the time of its last good answer."""
        if self._last_ok_at is None:
            return self._record
        age = timedelta(seconds=self._parts.clock.monotonic() - self._last_ok_at)
        return msgspec.structs.replace(self._record, last_ok=self._parts.clock.now() - age)

    @property
    def session(self) -> McpSession | None:
        """The open session while the server serves."""
        return self._session if self._record.state in SERVING else None

    def log_tail(self) -> tuple[str, ...]:
        """The last lines of diagnostics of the present life, or of the last one."""
        return self._child.log_tail() if self._child is not None else ()

    def answered(self) -> None:
        """Note a good answer."""
        self._last_ok_at = self._parts.clock.monotonic()

    def start(self) -> None:
        """Begin a life unless one is under way; a server that backs off starts at once."""
        if self._task is not None and not self._task.done():
            self._nudge.set()
            return
        self._set(supervision.starting(self._record, self._parts.clock.now()))
        self._task = asyncio.create_task(self._live(), name=f"server {self._spec.name}")
        self._task.add_done_callback(self._surface)

    async def stop(self, reason: str) -> None:
        """End the life under way; on return nothing of the server is left."""
        task, self._task = self._task, None
        if self._record.state in _RUNNING:
            now = self._parts.clock.now()
            self._set(supervision.enter(self._record, ServerState.STOPPING, now, reason))
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        if self._record.state not in _ENDED:
            self._set(supervision.stopped(self._record, self._parts.clock.now(), reason))

    async def serving(self, deadline: float) -> McpSession:
        """The open session, started and waited for until `deadline` (monotonic) where that helps.

        Raises:
            ServerDown: at once where no start is under way.
            CallTimedOut: the start took longer than the caller can wait.
        """
        if self._record.state is ServerState.IDLE:
            self.start()
        if self._record.state is ServerState.STARTING:
            try:
                async with asyncio.timeout_at(deadline):
                    await self._settled.wait()
            except TimeoutError:
                raise CallTimedOut(
                    f"The server {self._spec.name!r} was still starting at the deadline.",
                    server=self._spec.name,
                ) from None
        session = self.session
        if session is None:
            raise self.down()
        return session

    def down(self) -> ServerDown:
        """The failure that says why no call can be taken now."""
        record = self._record
        retry_after = None
        if record.retry_at is not None:
            retry_after = max(record.retry_at - self._parts.clock.now(), timedelta(seconds=1))
        state = record.state.value.replace("_", " ")
        return ServerDown(
            f"The server {self._spec.name!r} is {state}"
            + (f": {record.reason}." if record.reason else "."),
            retry_after=retry_after,
            server=self._spec.name,
            state=record.state.value,
        )

    async def _live(self) -> None:
        while True:
            try:
                await self._one_life()
            finally:
                await self._clear()
            await self._back_off()
            self._set(supervision.starting(self._record, self._parts.clock.now()))

    async def _one_life(self) -> None:
        """From the launch to the moment a failure is known, which the record says at once."""
        try:
            async with asyncio.timeout(self._spec.start_timeout.total_seconds()):
                child, session = await self._open()
        except TimeoutError:
            seconds = self._spec.start_timeout.total_seconds()
            self._fail(f"not ready within {seconds:g} s (in the {self._stage})")
            return
        except Failure as failure:
            self._era = None
            self._fail(failure.message)
            return
        now = self._parts.clock.now()
        self._set(supervision.ready(self._record, now, session.peer, child.pid))
        self.answered()
        self._stage = "run"
        self._fail(await self._watch(child, session))
        try:
            async with asyncio.timeout(LAST_WORDS_S):
                await session.wait_closed()
        except TimeoutError:
            pass  # a descendant holds the pipe open

    async def _open(self) -> tuple[Child, McpSession]:
        child = await self._launch()
        try:
            session = await self._connect(child)
        except EndedOnProbe:
            self._era = Era.LEGACY
            await self._clear()
            child = await self._launch()
            session = await self._connect(child)
        self._session = session
        self._era = session.peer.era
        self._stage = "listing"
        await self._list(session)
        return child, session

    async def _launch(self) -> Child:
        self._stage = "launch"
        self._child = await self._parts.launcher.launch(self._spec.name, self._spec.recipe)
        return self._child

    async def _connect(self, child: Child) -> McpSession:
        self._stage = "handshake"
        opening = Opening(
            era=self._era,
            probe_timeout=self._spec.probe_timeout,
            start_timeout=self._spec.start_timeout,
        )
        try:
            return await self._parts.connector.connect(child.stream, opening, self._on_change)
        except HandshakeFailed as failure:
            try:
                async with asyncio.timeout(LAST_WORDS_S):
                    exit_ = await child.wait()
            except TimeoutError:
                raise failure from None
            raise HandshakeFailed(f"the process {exit_} during the handshake") from failure

    async def _list(self, session: McpSession) -> None:
        if "tools" in session.peer.capabilities:
            await self._listed(await session.list_all("tools/list", "tools"))
        else:
            await self._listed(())

    async def _watch(self, child: Child, session: McpSession) -> str:
        """Wait for the end of the life; return its reason."""
        exited = asyncio.create_task(child.wait())
        closed = asyncio.create_task(session.wait_closed())
        relisting = asyncio.create_task(self._relist(session))
        try:
            await asyncio.wait({exited, closed}, return_when=asyncio.FIRST_COMPLETED)
            if not exited.done():
                await asyncio.wait({exited}, timeout=LAST_WORDS_S)
            return f"the process {exited.result()}" if exited.done() else closed.result()
        finally:
            for watcher in (exited, closed, relisting):
                watcher.cancel()
            await asyncio.wait({exited, closed, relisting})

    async def _relist(self, session: McpSession) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(RELIST_PAUSE_S)
            self._changed.clear()
            try:
                await self._list(session)
            except Failure as failure:
                logger.warning("%s: listing again failed: %s", self._spec.name, failure.message)

    def _on_change(self, what: str) -> None:
        if what == "tools":
            self._changed.set()

    async def _back_off(self) -> None:
        retry_at = self._record.retry_at or self._parts.clock.now()
        wait_s = max(0.0, (retry_at - self._parts.clock.now()).total_seconds())
        self._nudge.clear()
        try:
            async with asyncio.timeout(wait_s):
                await self._nudge.wait()
        except TimeoutError:
            pass  # nobody was in a hurry

    async def _clear(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        if self._child is not None:
            await self._child.end(STOP_GRACE)

    def _fail(self, message: str) -> None:
        failure = StartFailure(stage=self._stage, message=message, at=self._parts.clock.now())
        policy, fraction = self._parts.policy, self._parts.chance.fraction()
        self._set(supervision.failed(self._record, failure, policy, fraction))

    def _set(self, record: ServerRecord) -> None:
        before, self._record = self._record, record
        if record.state is ServerState.STARTING:
            self._settled.clear()
        else:
            self._settled.set()
        logger.info(
            "%s: %s -> %s%s",
            self._spec.name,
            before.state.value,
            record.state.value,
            f": {record.reason}" if record.reason else "",
        )

    def _surface(self, task: asyncio.Task[None]) -> None:
        """A programming error ends the life: it is logged whole and the record says so."""
        if task.cancelled() or task.exception() is None:
            return
        logger.error("%s: the runner broke", self._spec.name, exc_info=task.exception())
        if self._record.state in _RUNNING:
            self._stage = "internal"
            self._fail("an internal error ended its supervision")
