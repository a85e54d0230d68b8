"""A remote session's ear for changed lists: one long stream, opened again when it ends."""

import asyncio
from collections.abc import Callable, Mapping

from adapters.mcp.changes import (
    ACKNOWLEDGED,
    LISTEN,
    announced_lists,
    changed_list,
    listen_params,
    subscription_of,
)
from adapters.mcp.remote.endpoint import Endpoint
from adapters.mcp.remote.events import Events
from adapters.mcp.remote.failures import (
    NOT_FOUND,
    NOT_MCP,
    SERVER_ERROR,
    UNAUTHORIZED,
    Failed,
    Harm,
)
from adapters.mcp.subscription import FIRST_PAUSE_S, LONGEST_PAUSE_S
from adapters.mcp.wire import Message, RequestWriter
from domain.model.servers import Era
from domain.ports.mcp import Changed, Peer

LASTING_S = 30.0
# A stream that held this long ended for an idle limit on its way, not for a fault.


class Ear:
    """What goes wrong here harms no request; that the server is gone is told to the session.

    `settled` is set when the first stream is open or will never be.
    """

    def __init__(
        self, endpoint: Endpoint, peer: Peer, writer: RequestWriter, changed: Changed
    ) -> None:
        self.settled = asyncio.Event()
        self._endpoint = endpoint
        self._peer = peer
        self._writer = writer
        self._changed = changed
        self._lists = announced_lists(peer)
        self._loop = asyncio.get_running_loop()
        self._id: int | None = None
        self._opened = False
        self._refused = False
        self._missed = False

    async def listen(self, receive: Callable[[Message], None], end: Callable[[str], None]) -> None:
        """Hand on what comes in, until the server will not tell or is gone."""
        pause, events = FIRST_PAUSE_S, self._endpoint.events()
        try:
            while self._lists and not self._refused:
                began = self._loop.time()
                failed = await self._stream(receive, events)
                self._id = None
                if failed is not None and self._gone(failed):
                    end(failed.reason)
                    break
                if failed is not None and _final(failed):
                    break
                self._missed = self._opened
                self.settled.set()
                if self._loop.time() - began >= LASTING_S:
                    pause = FIRST_PAUSE_S
                await asyncio.sleep(max(pause, events.retry_s))
                pause = min(pause * 2, LONGEST_PAUSE_S)
        finally:
            self.settled.set()

    def notified(self, message: Message) -> None:
        """Take any notification of the session."""
        method = message.method or ""
        if method == ACKNOWLEDGED:
            if self._id is not None and subscription_of(message.params) == self._id:
                self._open({})
        elif name := changed_list(self._peer, method, message.params, self._id):
            self.tell(name)

    def tell(self, name: str) -> None:
        """Say that a list is another now."""
        # Not within the reader: what it raises is the loop's to report and harms no request.
        self._loop.call_soon(self._changed, name)

    async def _stream(self, receive: Callable[[Message], None], events: Events) -> Failed | None:
        def take(message: Message) -> bool:
            if message.method is not None or self._id is None or message.id != self._id:
                receive(message)
                return False
            self._refused = message.error is not None
            return True

        if self._peer.era is Era.LEGACY:
            return await self._endpoint.listen({}, take, events, self._open)
        self._id = next(self._endpoint.ids)
        body = self._writer.request(self._id, LISTEN, listen_params(self._lists))
        return await self._endpoint.ask(self._id, {"Mcp-Method": LISTEN}, body, take)

    def _open(self, _: Mapping[str, str]) -> None:
        self._opened = True
        self.settled.set()
        if self._missed:
            self._missed = False
            for name in self._lists:
                self.tell(name)

    def _gone(self, failed: Failed) -> bool:
        """A server without this stream may answer anything; one that had it says something."""
        refused = self._opened and failed.status in {UNAUTHORIZED, NOT_FOUND}
        return refused or not failed.sent


def _final(failed: Failed) -> bool:
    """Whether it would be the same again; a server's own errors pass."""
    refused = failed.harm is Harm.REFUSED or 0 < failed.status < SERVER_ERROR
    return failed is NOT_MCP or (refused and failed.retry_after is None)
