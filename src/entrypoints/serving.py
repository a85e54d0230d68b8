"""The HTTP server inside our own loop, and the steps in which it ends."""

import asyncio
import logging
import resource
import socket
from contextlib import suppress
from datetime import timedelta
from typing import Any, Self

from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from domain.errors import Unavailable
from entrypoints.http.door import Door

ACCEPT_TIMEOUT_S = 5.0
# The listening thread is up within some 10 ms; this long means that it never will be.
LOOK_AGAIN_S = 0.005
# The server tells nobody when it listens.
STOP_TIMEOUT_S = 0.5
# Once every answer has ended the server has only idle connections to close.

BACKLOG = 1024
# Many listeners come back at the same moment after a restart.
MOST_CONNECTIONS = 10_000
# A listener to events costs some 50 kB.

logger = logging.getLogger(__name__)


class PortTaken(Unavailable):
    """The address cannot be listened on; the message says why."""


def probe_port(host: str, port: int) -> int:
    """The port to listen on: `port`, or a free one for 0.

    The server itself binds with SO_REUSEPORT, so a second one would share the port in silence.

    Raises:
        PortTaken: someone listens there, or the host is not an address of this machine.
    """
    try:
        family, kind, protocol, _, address = _resolved(host, port)
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
            return int(probe.getsockname()[1])
    except OSError as error:
        raise PortTaken(
            f"Cannot listen on {host} port {port}: {error.strerror}.", host=host, port=port
        ) from error


class HttpServer:
    """Serves a door until it is stopped; an async context manager.

    Leaving it walks the ladder: nobody new, streams end with an event, `drain`, the rest is
    cancelled, the server stops. It takes at most `drain` and two seconds. Whoever has services
    to end in between empties the door before that; then only the last step is left.
    """

    def __init__(self, door: Door, host: str, port: int, drain: timedelta) -> None:
        self._door = door
        self._drain = drain
        self._address = (host, port)
        self._server = Server(
            door,
            address=_resolved(host, port)[4][0],
            port=port,
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,
            websockets=False,
            backlog=BACKLOG,
            backpressure=_connections(),
            log_enabled=False,
        )
        self._serving: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Return once the port accepts connections. Raises PortTaken."""
        self._serving = asyncio.create_task(self._server.serve())
        try:
            async with asyncio.timeout(ACCEPT_TIMEOUT_S):
                await self._accepting(self._serving)
        except (TimeoutError, RuntimeError, OSError) as error:
            await self.stop()
            host, port = self._address
            raise PortTaken(f"Cannot serve on {host} port {port}.", host=host, port=port) from error

    async def stop(self) -> None:
        """Walk the ladder; safe to repeat."""
        self._door.closing()
        if late := await self._door.emptied(self._drain):
            logger.warning("Cancelled %d requests that outlived the drain.", late)
        if self._serving is None:
            return
        serving, self._serving = self._serving, None
        self._server.stop()  # type: ignore[no-untyped-call]
        with suppress(TimeoutError, asyncio.CancelledError):
            await asyncio.wait_for(serving, STOP_TIMEOUT_S)

    async def _accepting(self, serving: asyncio.Task[None]) -> None:
        while not serving.done():
            with suppress(ConnectionRefusedError):
                _, writer = await asyncio.open_connection(*self._address)
                writer.close()
                await writer.wait_closed()
                return
            await asyncio.sleep(LOOK_AGAIN_S)
        await serving


def _connections() -> int:
    """How many may be open at a time: half of the files that this process may open.

    The rest are for servers and the database. The server's own 128 would soon be taken by
    listeners to events, and then nobody else comes in.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else min(soft // 2, MOST_CONNECTIONS)


def _resolved(host: str, port: int) -> tuple[Any, ...]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
