"""Servers that are functions of this program, started and ended like any other server."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from signal import SIGKILL, SIGTERM

from domain.model.servers import DEFAULT_LIMITS, Command, Limits, ServerName, Usage
from domain.ports.launching import Exit, LaunchFailed, StreamClosed

CAPACITY = 65_536
# What a Linux pipe holds.
READ_LIMIT = 1_048_576
# The port's bound on one read.
LOG_LINES = 200
LOG_LINE_CHARS = 2_000


class MemoryPipe:
    """One direction of bytes, with room for `CAPACITY`; one reader, many writers."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._ended = False
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._turn = asyncio.Lock()

    async def read(self) -> bytes:
        """The next bytes; empty at the end."""
        while not self._held and not self._ended:
            self._changed.clear()
            await self._changed.wait()
        data = bytes(self._held[:READ_LIMIT])
        del self._held[:READ_LIMIT]
        self._room.set()
        return data

    async def write(self, data: bytes) -> None:
        """Hand over `data`; waits while the pipe is full."""
        async with self._turn:
            while len(self._held) >= CAPACITY and not self._ended:
                self._room.clear()
                await self._room.wait()
            if self._ended:
                raise StreamClosed("The server's standard input is closed.")
            self._held += data
            self._changed.set()

    def end(self) -> None:
        """No more is written; what is held can still be read."""
        self._ended = True
        self._changed.set()
        self._room.set()


class MemoryStream:
    """Two pipes as one stream."""

    def __init__(self, incoming: MemoryPipe, outgoing: MemoryPipe) -> None:
        self.read = incoming.read
        self.write = outgoing.write


class Peer:
    """A program's side: its recipe, its standard streams, and what a polite signal does.

    A polite signal ends the program, unless `on_terminate` is set: then that is called.
    """

    def __init__(self, recipe: Command, stdin: MemoryPipe, stdout: MemoryPipe) -> None:
        self.recipe = recipe
        self.on_terminate: Callable[[], None] | None = None
        self.read = stdin.read
        self.write = stdout.write
        self.close_input = stdin.end
        self.close_output = stdout.end
        self._lines: deque[str] = deque(maxlen=LOG_LINES)

    def log(self, line: str) -> None:
        """Write one line to standard error."""
        self._lines.append(line[:LOG_LINE_CHARS])

    def log_tail(self) -> tuple[str, ...]:
        """The last lines, oldest first."""
        return tuple(self._lines)


Program = Callable[[Peer], Awaitable[int]]
# Runs until it returns its exit code; raising anything is a crash with exit code 1.


class MemoryChild:
    """A running program; `kill` ends it from outside, as a machine can."""

    def __init__(self, program: Program, recipe: Command, limits: Limits) -> None:
        self._stdin, self._stdout = MemoryPipe(), MemoryPipe()
        self._stream = MemoryStream(self._stdout, self._stdin)
        self.peer = Peer(recipe, self._stdin, self._stdout)
        loop = asyncio.get_running_loop()
        self._exit: asyncio.Future[Exit] = loop.create_future()
        self._ladder: asyncio.Task[Exit] | None = None
        self._running = loop.create_task(self._run(program))
        self.limits = limits

    @property
    def stream(self) -> MemoryStream:
        return self._stream

    @property
    def pid(self) -> int | None:
        return None

    @property
    def container_id(self) -> None:
        return None

    @property
    def usage(self) -> Usage | None:
        return None

    @property
    def gone(self) -> bool:
        """Whether nothing of it runs any more."""
        return self._running.done()

    def log_tail(self) -> tuple[str, ...]:
        return self.peer.log_tail()

    def go_over(self, excess: str) -> None:
        """End the program as one that exceeds a limit."""
        self._end(Exit(signal=int(SIGKILL), excess=excess))
        self._running.cancel()

    async def wait(self) -> Exit:
        return await asyncio.shield(self._exit)

    def kill(self, signal: int = SIGKILL) -> None:
        """Send a signal; only SIGTERM can be handled, every other ends the program."""
        if signal == SIGTERM and self.peer.on_terminate is not None:
            self.peer.on_terminate()
            return
        self._end(Exit(signal=int(signal)))
        self._running.cancel()

    async def end(self, grace: timedelta) -> Exit:
        if self._ladder is None:
            self._ladder = asyncio.create_task(self._descend(grace.total_seconds()))
        return await asyncio.shield(self._ladder)

    async def _descend(self, grace_s: float) -> Exit:
        self._stdin.end()
        for signal in (SIGTERM, SIGKILL):
            await asyncio.wait({self._exit}, timeout=grace_s)
            if self._exit.done():
                break
            self.kill(signal)
        await asyncio.wait({self._running})
        return self._exit.result()

    async def _run(self, program: Program) -> None:
        try:
            code = await program(self.peer)
        except Exception as error:  # noqa: BLE001  a program's crash is its exit
            self.peer.log(f"{type(error).__name__}: {error}")
            code = 1
        self._end(Exit(code=code))

    def _end(self, exit_: Exit) -> None:
        if not self._exit.done():
            self._exit.set_result(exit_)
        self._stdin.end()
        self._stdout.end()


class MemoryLauncher:
    """Starts programs by their command; `children` holds every one started, oldest first."""

    def __init__(self, programs: Mapping[str, Program]) -> None:
        self._programs = programs
        self.children: list[MemoryChild] = []

    async def launch(
        self, name: ServerName, recipe: Command, limits: Limits = DEFAULT_LIMITS
    ) -> MemoryChild:
        program = self._programs.get(recipe.command)
        if program is None:
            raise LaunchFailed(
                f"{name} was not started: {recipe.command!r}: no such command.", server=name
            )
        child = MemoryChild(program, recipe, limits)
        self.children.append(child)
        return child

    async def sweep(self) -> int:
        """Nothing outlives the program it runs in."""
        return 0

    async def aclose(self, grace: timedelta = timedelta(0)) -> None:
        """End all programs, side by side."""
        await asyncio.gather(*(child.end(grace) for child in self.children))
