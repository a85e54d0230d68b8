"""One server's life: started, watched, started again, ended."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

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
from domain.orchestration.gate import Gate
from domain.orchestration.life import Life, Listed, Parts
from domain.orchestration.secrets import hidden
from domain.orchestration.vitals import End, Vitals
from domain.ports.mcp import McpSession

logger = logging.getLogger(__name__)

_RUNNING = frozenset({ServerState.STARTING, ServerState.READY, ServerState.DEGRADED})
_ENDED = frozenset({ServerState.STOPPED, ServerState.DISABLED})


class Runner:
    """Keeps one server as it is wanted, and its one record true.

    `listed` is given the tool definitions of each listing before they are on offer. A life runs
    in one task of its own and is ended by another, so that a caller who leaves leaves nothing
    half done; the last wish, to run or not, is the one that is met.

    Of several instances of one server each has a `label`, and `told` hears of each new record.
    """

    def __init__(
        self,
        spec: ServerSpec,
        parts: Parts,
        listed: Listed,
        label: str = "",
        told: Callable[[], None] | None = None,
    ) -> None:
        self.label = label
        self._spec = spec
        self._parts = parts
        self._listed = listed
        self._told = told
        self._record = supervision.new_record(spec, parts.clock.now())
        self._era: Era | None = None
        self._life: Life | None = None
        self._task: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._wanted = self._closed = self._resting = False
        self._settled = asyncio.Event()
        self._out_of_service = asyncio.Event()
        self._nudge = asyncio.Event()
        self.vitals = Vitals(parts.clock, self._health_changed)
        self.gate = Gate(f"The server {spec.name!r}", spec.limits.calls, spec.limits.queue)

    @property
    def record(self) -> ServerRecord:
        """How the server is now; `last_ok` is the time of its last good answer."""
        if self._life is None or self.vitals.last_ok_at is None:
            return self._record
        age = timedelta(seconds=self._parts.clock.monotonic() - self.vitals.last_ok_at)
        usage = self._life.usage if self._record.state in _RUNNING else None
        last_ok, calls = self._parts.clock.now() - age, self.vitals.breaker.now
        return msgspec.structs.replace(self._record, last_ok=last_ok, usage=usage, calls=calls)

    @property
    def _title(self) -> str:
        return f"{self._spec.name}/{self.label}" if self.label else self._spec.name

    @property
    def state(self) -> ServerState:
        """Its record's state."""
        return self._record.state

    @property
    def session(self) -> McpSession | None:
        """The open session while the server serves."""
        if self._life is None or self._record.state not in SERVING:
            return None
        return self._life.for_callers

    def log_tail(self) -> tuple[str, ...]:
        """The last lines of diagnostics of the present life, or of the last one."""
        lines = self._life.log_tail() if self._life is not None else ()
        return tuple(hidden(line, self._spec) for line in lines)

    def start(self) -> None:
        """Begin a life unless one is under way; a server that backs off starts at once.

        While a life is being ended the next begins after it. Raises ServerDown once closed.
        """
        if self._closed:
            raise self.down()
        self._wanted = True
        if self._task is not None and not self._task.done():
            self._nudge.set()
        elif self._ending is None:
            self._begin()

    def stop(self, reason: str) -> Awaitable[None]:
        """End the life under way; nothing of that life is left once what is returned is done.

        Many may ask at once; a caller who leaves does not call it off.
        """
        self._wanted = False
        return self._finish(reason)

    def restart(self, reason: str) -> Awaitable[None]:
        """End the life under way and begin the next, also when the caller leaves meanwhile."""
        if self._closed:
            raise self.down()
        self._wanted = True
        return self._finish(reason)

    def close(self, reason: str) -> Awaitable[None]:
        """Stop for good: nothing begins after this."""
        self._closed = True
        return self.stop(reason)

    def _begin(self) -> None:
        self._set(supervision.starting(self._record, self._parts.clock.now()))
        self._task = asyncio.create_task(self._live(), name=f"server {self._title}")
        self._task.add_done_callback(self._surface)

    def _finish(self, reason: str) -> Awaitable[None]:
        if self._ending is None:
            now = self._parts.clock.now()
            if self._record.state in _RUNNING:
                self._set(supervision.enter(self._record, ServerState.STOPPING, now, reason))
            task, self._task = self._task, None
            if task is not None:
                task.cancel()  # at once: a moment later it may have begun its next life
            self._ending = asyncio.create_task(self._end(task, reason))
        return asyncio.shield(self._ending)

    async def _end(self, task: asyncio.Task[None] | None, reason: str) -> None:
        try:
            if task is not None:
                await asyncio.wait({task})
            if self._life is not None:
                await self._life.end()  # the cancellation may have met it while it ended by itself
            self._resting = False
            if self._record.state not in _ENDED:
                self._set(supervision.stopped(self._record, self._parts.clock.now(), reason))
        finally:
            self._ending = None
        if self._wanted and not self._closed:
            self._begin()

    async def serving(self, deadline: float) -> McpSession:
        """The open session, started and waited for until `deadline` (monotonic) where that helps.

        Raises:
            ServerDown: at once where no start is under way.
            CallTimedOut: the start took longer than the caller can wait.
        """
        while self.coming_up:
            if self._record.state is ServerState.IDLE:
                self.start()
            left = deadline - self._parts.clock.monotonic()
            try:
                async with asyncio.timeout(left):
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

    @property
    def coming_up(self) -> bool:
        """Whether it will serve if asked: idle, starting, or between two lives."""
        between = self._record.state is ServerState.STOPPING and self._resting
        return between or self._record.state in {ServerState.IDLE, ServerState.STARTING}

    async def out_of_service(self, wait_s: float) -> None:
        """Wait for the record to say that it does not serve: a session ends before its process."""
        with suppress(TimeoutError):  # it serves: only that exchange has ended
            async with asyncio.timeout(wait_s):
                await self._out_of_service.wait()

    def down(self) -> ServerDown:
        """The failure that says why no call can be taken now."""
        return supervision.down(self._record, self._parts.clock.now())

    async def _live(self) -> None:
        while True:
            self._life = Life(self._spec, self._parts, self._listed, self._era, self.vitals)
            try:
                end = await self._one_life(self._life)
            finally:
                await self._life.end()
            if end.failure:
                await self._back_off()
            else:
                self._resting = False
                now = self._parts.clock.now()
                self._set(supervision.enter(self._record, ServerState.IDLE, now, end.reason))
                if not (end.again or self._nudge.is_set()):
                    return
            self._set(supervision.starting(self._record, self._parts.clock.now()))

    async def _one_life(self, life: Life) -> End:
        """From the launch to the moment its end is known, which the record says at once."""
        end = await self._open_and_watch(life)
        if end.failure:
            self._fail(life.stage, end.reason)
            await life.last_words()
        else:
            self._nudge.clear()  # from here on a start means the next life
            self._resting = True
            now = self._parts.clock.now()
            self._set(supervision.enter(self._record, ServerState.STOPPING, now, end.reason))
            await life.quiet()
        return end

    async def _open_and_watch(self, life: Life) -> End:
        limit = self._spec.start_timeout.total_seconds()
        try:
            async with asyncio.timeout(limit):
                session = await life.open()
        except TimeoutError:
            return End(reason=f"not ready within {limit:g} s (in the {life.stage})")
        except Failure as failure:
            self._era = None
            return End(reason=failure.message)
        self._era = life.era
        now = self._parts.clock.now()
        place = (life.pid, life.container_id)
        self._set(supervision.ready(self._record, now, session.peer, *place))
        self.vitals.begin()
        return await life.watch()

    def _health_changed(self, illness: str) -> None:
        if self._record.state in SERVING:
            now = self._parts.clock.now()
            self._set(
                supervision.silent(self._record, now, illness)
                if illness
                else supervision.recovered(self._record, now)
            )

    async def _back_off(self) -> None:
        retry_at = self._record.retry_at or self._parts.clock.now()
        wait_s = max(0.0, (retry_at - self._parts.clock.now()).total_seconds())
        with suppress(TimeoutError):  # nobody was in a hurry
            async with asyncio.timeout(wait_s):
                await self._nudge.wait()

    def _fail(self, stage: str, message: str) -> None:
        self._nudge.clear()  # from here on, while the rest of the life ends too, haste counts
        now = self._parts.clock.now()
        failure = StartFailure(stage=stage, message=hidden(message, self._spec), at=now)
        policy, fraction = self._parts.policy, self._parts.chance.fraction()
        self._set(supervision.failed(self._record, failure, policy, fraction))

    def _set(self, record: ServerRecord) -> None:
        before, self._record = self._record, record
        if record.state in SERVING:
            self._out_of_service.clear()
        else:
            self._out_of_service.set()
        if record.state is ServerState.STARTING or self._resting:
            self._settled.clear()
        else:
            self._settled.set()
        why = f": {record.reason}" if record.reason else ""
        logger.info("%s: %s -> %s%s", self._title, before.state.value, record.state.value, why)
        if self._told is not None:
            self._told()

    def _surface(self, task: asyncio.Task[None]) -> None:
        """A programming error ends the life: it is logged whole and the record says so."""
        if task.cancelled() or task.exception() is None:
            return
        logger.error("%s: the runner broke", self._title, exc_info=task.exception())
        if self._record.state in _RUNNING:
            self._fail("internal", "an internal error ended its supervision")
