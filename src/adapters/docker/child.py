"""A server in a container: what the engine tells of it, and the ladder that ends it."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from datetime import timedelta
from signal import SIGKILL

from adapters.docker.attached import AttachedStream
from adapters.docker.containers import Containers
from adapters.docker.creation import MEMORY_MB
from domain.model.containers import EngineRefused
from domain.model.log_tail import LogTail
from domain.model.metering import Meter
from domain.model.servers import Limits, Usage
from domain.ports.engines import EngineUnavailable
from domain.ports.launching import Exit

MOST_SIGNAL = 64
NOT_RUN = frozenset({126, 127})
INIT_FAULT = "[FATAL tini"
# The engine's init is the first process: a program that is not there is its exit, not the engine's
# refusal.
SHELL_SIGNALS = 128
# Engines tell a signal as a shell does: 128 and its number.
LOG_LOOK_S = 0.25
# How often a listener to diagnostics is given what came.
SETTLE_S = 1.0
# The end of the streams and the news of the death come within milliseconds of one another.


class ContainerChild:
    """A started container, attached by `stream`, whose diagnostics are in `tail`."""

    def __init__(
        self,
        container_id: str,
        stream: AttachedStream,
        tail: LogTail,
        containers: Containers,
        limits: Limits,
    ) -> None:
        self.container_id = container_id
        self.limits = limits
        self.meter = Meter()
        self.out_of_memory = False
        self._over = ""
        self._stream = stream
        self._tail = tail
        self._containers = containers
        loop = asyncio.get_running_loop()
        self._exit: asyncio.Future[Exit] = loop.create_future()
        self._ladder: asyncio.Task[Exit] | None = None
        self._watching = loop.create_task(self._watch())
        self._gone: Callable[[], object] = lambda: None

    @property
    def stream(self) -> AttachedStream:
        return self._stream

    @property
    def pid(self) -> int | None:
        return None

    @property
    def usage(self) -> Usage | None:
        return self.meter.usage

    @property
    def written(self) -> int:
        """Bytes that came on standard output and standard error so far."""
        return self._stream.taken

    def log_tail(self) -> tuple[str, ...]:
        return self._tail.lines()

    async def wait(self) -> Exit:
        return await asyncio.shield(self._exit)

    async def end(self, grace: timedelta) -> Exit:
        if self._ladder is None:
            self._ladder = asyncio.create_task(self._descend(grace))
        return await asyncio.shield(self._ladder)

    def died(self, code: int) -> None:
        """The engine says that it has ended."""
        if self._exit.done():
            return
        number = code - SHELL_SIGNALS
        if self._over:
            self._exit.set_result(Exit(signal=SIGKILL, excess=self._over))
        elif self.out_of_memory:
            limit = self.limits.memory_mb or MEMORY_MB
            excess = f"it took more memory than its limit of {limit} MB"
            self._exit.set_result(Exit(signal=SIGKILL, excess=excess))
        elif code in NOT_RUN and (fault := self._init_fault()):
            self._exit.set_result(Exit(code=code, excess=fault))
        elif 0 < number <= MOST_SIGNAL:
            self._exit.set_result(Exit(signal=number))
        else:
            self._exit.set_result(Exit(code=code))

    def _init_fault(self) -> str:
        """What the engine's init says of a program that it could not run, empty where nothing."""
        last = (self._tail.lines() or ("",))[-1]
        return last.partition("] ")[2] if last.startswith(INIT_FAULT) else ""

    async def go_over(self, excess: str) -> None:
        """It took more than it may: end it with that reason. Raises EngineUnavailable."""
        self._over = excess
        await self._containers.kill(self.container_id)

    def lost(self, reason: str) -> None:
        """The engine cannot tell any more how it is."""
        if not self._exit.done():
            self._exit.set_result(Exit(excess=reason))

    def on_gone(self, callback: Callable[[], object]) -> None:
        """Call back when nothing of it is left."""
        self._gone = callback

    async def logs(self, tail: int) -> AsyncGenerator[str, None]:
        """The last lines of diagnostics and those to come."""
        told = max(0, self._tail.ended - tail)
        while True:
            over = self._stream.ended.is_set()
            lines, told = self._tail.ended_since(told), self._tail.ended
            for line in lines:
                yield line
            if over:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(LOG_LOOK_S):
                    await self._stream.ended.wait()

    async def _watch(self) -> None:
        """The streams end with the container, or with the connection to its engine."""
        await self._stream.ended.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                await asyncio.shield(self._exit)
                return
        await self._look()

    async def _look(self) -> None:
        """Ask the engine how it ended; where that cannot be told, it has ended all the same."""
        try:
            state = await self._containers.state(self.container_id)
        except (EngineUnavailable, EngineRefused) as failure:
            self.lost(failure.message)
            return
        if state is None:
            self.lost("its container was removed")
        elif state.running:
            self.lost("the connection to its container broke")
        else:
            self.out_of_memory = self.out_of_memory or state.oom_killed
            self.died(state.exit_code)

    async def _descend(self, grace: timedelta) -> Exit:
        if self._stream.end_input():
            await asyncio.wait({self._exit}, timeout=grace.total_seconds())
        if not self._exit.done():
            with suppress(EngineUnavailable, EngineRefused):
                await self._containers.stop(self.container_id, grace)
            await asyncio.wait({self._exit}, timeout=grace.total_seconds())
        if not self._exit.done():
            await self._look()
        await self._containers.remove(self.container_id)
        await self.give_up()
        self._gone()
        return self._exit.result()

    async def give_up(self) -> None:
        """Let go of its streams: it was never started, or has ended."""
        self.lost("it was never started")
        await self._stream.aclose()
        await asyncio.wait({self._watching})
