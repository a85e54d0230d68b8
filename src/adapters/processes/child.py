"""A started server: what its guard reports of it, and the ladder that ends it."""

import asyncio
import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from adapters.processes.diagnostics import Drain
from adapters.processes.leftovers import end_marked
from adapters.processes.pipes import Incoming, Outgoing, PipeStream
from domain.model.log_tail import LogTail
from domain.model.metering import Meter
from domain.model.servers import Limits, Usage
from domain.ports.launching import Exit

TERMINATE = b"t"
# The guard's one order; the end of orders means kill.
KILL_WAIT_S = 3.0
# A guard needs milliseconds to kill its tree; one that does not answer is killed itself.


class ProcessChild:
    """A server under its guard.

    `process` is the guard, `control` our end of the socket pair to it, `mark` what every
    process of the server carries. The descriptors are ours from here on.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        control: socket.socket,
        pipes: tuple[int, int, int],
        mark: str,
        limits: Limits,
    ) -> None:
        self._process = process
        self._control = control
        self._mark = mark
        stdin, stdout, stderr = pipes
        self._outgoing = Outgoing(stdin)
        self._incoming = Incoming(stdout)
        self._stream = PipeStream(self._incoming, self._outgoing)
        self._tail = LogTail()
        self._drain = Drain(stderr, self._tail)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(control, self._hear)
        self._heard = b""
        self._pid: int | None = None
        self._started: asyncio.Future[str] = self._loop.create_future()
        self._exit: asyncio.Future[Exit] = self._loop.create_future()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._excess = ""
        self.limits = limits
        self.meter = Meter()
        self._finishing: asyncio.Task[None] | None = None
        self._ladder: asyncio.Task[Exit] | None = None

    @property
    def stream(self) -> PipeStream:
        return self._stream

    @property
    def pid(self) -> int | None:
        return self._pid

    @property
    def container_id(self) -> None:
        return None

    @property
    def usage(self) -> Usage | None:
        return self.meter.usage

    @property
    def guard_pid(self) -> int:
        """The process below which all of the server's are."""
        return self._process.pid

    @property
    def written(self) -> int:
        """Bytes that came on standard output and standard error so far."""
        return self._incoming.taken + self._drain.taken

    def go_over(self, excess: str) -> None:
        """End it at once for going over a limit."""
        self._excess = self._excess or excess
        self._hang_up()

    def log_tail(self) -> tuple[str, ...]:
        return self._tail.lines()

    def on_gone(self, callback: Callable[["ProcessChild"], None]) -> None:
        """Call back when none of its processes is left and everything of it is closed."""
        self._gone.add_done_callback(lambda _: callback(self))

    async def start(self, request: bytes) -> str:
        """Give the guard its request; return why the server did not start, empty if it did.

        The reason is the guard's `folder|command|guard ERRNO`. Unless the server has started,
        also when cancelled, everything has ended on return.
        """
        try:
            with suppress(BrokenPipeError, ConnectionResetError):
                await self._loop.sock_sendall(self._control, request)
            failure = await asyncio.shield(self._started)
        except asyncio.CancelledError:
            await asyncio.shield(self._begin_end(0))
            raise
        if failure:
            await asyncio.shield(self._gone)
        return failure

    async def wait(self) -> Exit:
        return await asyncio.shield(self._exit)

    async def end(self, grace: timedelta) -> Exit:
        return await asyncio.shield(self._begin_end(grace.total_seconds()))

    def _begin_end(self, grace_s: float) -> asyncio.Task[Exit]:
        if self._ladder is None:
            self._ladder = self._loop.create_task(self._descend(grace_s))
        return self._ladder

    async def _descend(self, grace_s: float) -> Exit:
        self._outgoing.close()
        for order in (self._terminate, self._hang_up):
            if await self._gone_within(grace_s):
                return self._exit.result()
            order()
        if not await self._gone_within(KILL_WAIT_S):
            self._process.kill()
        await asyncio.shield(self._gone)
        return self._exit.result()

    async def _gone_within(self, seconds: float) -> bool:
        await asyncio.wait({self._gone}, timeout=seconds)
        return self._gone.done()

    def _terminate(self) -> None:
        with suppress(OSError):  # the guard has just ended: hearing tells that
            self._control.send(TERMINATE)

    def _hang_up(self) -> None:
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_WR)

    def _hear(self) -> None:
        try:
            data = self._control.recv(4096)
        except BlockingIOError:
            return
        except ConnectionResetError:  # the guard died with an order unread
            data = b""
        if not data:
            self._loop.remove_reader(self._control)
            self._control.close()
            self._finishing = self._loop.create_task(self._finish())
            return
        *reports, self._heard = (self._heard + data).split(b"\n")
        for report in reports:
            self._note(*report.decode().split(" ", 1))

    def _note(self, what: str, value: str) -> None:
        match what:
            case "started":
                self._pid = int(value)
                self._started.set_result("")
            case "failed":
                self._started.set_result(value)
            case "exited":
                status = int(value)
                code, number = (status, None) if status >= 0 else (None, -status)
                self._exit.set_result(Exit(code=code, signal=number, excess=self._excess))

    async def _finish(self) -> None:
        # The guard closes its end by exiting: this waits for microseconds.
        if self._process.wait() != 0:
            # Something ended the guard itself; the server dies with it, its descendants do not.
            await end_marked(self._mark.__eq__)
        self._outgoing.close()
        self._incoming.finish()
        self._drain.finish()
        if not self._started.done():
            self._started.set_result("guard 0")
        if not self._exit.done():
            self._exit.set_result(Exit(excess=self._excess))
        self._gone.set_result(None)
