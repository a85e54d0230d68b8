"""Starting what a spec names, apart from talking to it."""

from datetime import timedelta
from typing import Protocol, TypeVar

import msgspec

from domain.errors import Unavailable
from domain.model.servers import DEFAULT_LIMITS, Limits, ServerName, Usage

R_contra = TypeVar("R_contra", contravariant=True)


class LaunchFailed(Unavailable):
    """Nothing was started; the message names the command and the system's reason."""


class StreamClosed(Unavailable):
    """The other side is gone: nothing more can be written."""


class ByteStream(Protocol):
    """Both directions of a byte pipe to a peer."""

    async def read(self) -> bytes:
        """The next bytes as they come, at least one, at most 1 MiB; empty once at the end.

        One reader at a time. Cancelling a read loses no bytes.
        """
        ...

    async def write(self, data: bytes) -> None:
        """Hand over all of `data`, in order with other writes; waits only while the pipe is full.

        Returning means that the system has taken the bytes, not that the peer has read them.
        A cancelled write may still be sent whole, never in part.

        Raises:
            StreamClosed: the peer's end is gone.
        """
        ...


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """How a child ended: an exit code, or the signal that ended it. Both None: unknown.

    `excess` says which of its limits it went over, where that is why it was ended.
    """

    code: int | None = None
    signal: int | None = None
    excess: str = ""

    def __str__(self) -> str:
        if self.excess:
            return f"was ended: {self.excess}"
        if self.signal is not None:
            return f"ended by signal {self.signal}"
        return f"exited with code {self.code}" if self.code is not None else "ended"


class Child(Protocol):
    """A started server: its pipe, its diagnostics, and the means to end it."""

    @property
    def stream(self) -> ByteStream:
        """Standard input (write) and standard output (read)."""
        ...

    @property
    def pid(self) -> int | None:
        """The server's own process id, None where it has none here."""
        ...

    @property
    def container_id(self) -> str | None:
        """The container that it runs in, None where it runs in none."""
        ...

    @property
    def usage(self) -> Usage | None:
        """What it uses, sampled within the last seconds; None where that is not known."""
        ...

    def log_tail(self) -> tuple[str, ...]:
        """The last lines of standard error, oldest first, bounded in number and length.

        Standard error is always drained, whether anyone asks or not.
        """
        ...

    async def wait(self) -> Exit:
        """Return when the server's own process has ended; many may wait, at any time."""
        ...

    async def end(self, grace: timedelta) -> Exit:
        """End the server and all its descendants; safe to repeat and to call after its exit.

        The ladder: its input ends, `grace`; a polite signal to all, `grace`; a forced one to
        all. On return none of its processes is left. A cancelled call leaves the ladder
        running to its end in the background.
        """
        ...


class Launcher(Protocol[R_contra]):
    """Starts children from recipes of one kind and answers for their end."""

    async def launch(
        self, name: ServerName, recipe: R_contra, limits: Limits = DEFAULT_LIMITS
    ) -> Child:
        """Start the recipe's program. Success means that it runs, not that it speaks MCP.

        A child that goes over one of `limits` is ended, and its Exit says so. When this system
        ends in any way, the child and all its descendants end too.

        Raises:
            LaunchFailed: no such command, no such folder, no right to run it.
        """
        ...

    async def sweep(self) -> int:
        """End what an earlier life of this installation left; return the number of processes.

        Only what is surely ours is touched: another installation's processes never are.
        """
        ...
