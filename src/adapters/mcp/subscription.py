"""A session's ear for changed lists: one long request in the modern era, notices in the legacy."""

import asyncio

import msgspec

from adapters.mcp.changes import (
    ACKNOWLEDGED,
    LISTEN,
    announced_lists,
    changed_list,
    listen_params,
    subscription_of,
)
from adapters.mcp.channel import Channel
from adapters.mcp.wire import Message, RequestWriter
from domain.model.servers import Era
from domain.ports.mcp import Changed, Peer

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 300.0
# A server may end the subscription when it likes: asked again soon, ever more seldom.


class _Cancelled(msgspec.Struct, frozen=True, rename="camel"):
    request_id: int


class Subscription:
    """Nothing that goes wrong here harms the session: it only hears less."""

    def __init__(
        self, channel: Channel, peer: Peer, writer: RequestWriter, changed: Changed
    ) -> None:
        self._channel = channel
        self._peer = peer
        self._writer = writer
        self._changed = changed
        self._lists = announced_lists(peer)
        self._loop = asyncio.get_running_loop()
        self._id: int | None = None
        self._missed = False
        self._pause = FIRST_PAUSE_S
        self._timer: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Ask a modern peer to tell of changes; a legacy one tells unasked."""
        if self._peer.era is Era.LEGACY:
            return
        self._id = next(self._channel.ids)
        line = self._writer.request(self._id, LISTEN, listen_params(self._lists))
        self._channel.post(self._id, line)

    def stop(self) -> None:
        """The session is over."""
        self._id = None
        if self._timer is not None:
            self._timer.cancel()

    def answered(self, message: Message) -> bool:
        """Whether this answer was the subscription's: its end, or its refusal, which is final."""
        if self._id is None or message.id != self._id:
            return False
        self._id = None
        if message.error is None:
            self._again()
        return True

    def notified(self, message: Message) -> None:
        """Take any notification."""
        method = message.method or ""
        if method == ACKNOWLEDGED:
            self._acknowledged(message.params)
        elif method == "notifications/cancelled":
            self._cancelled(message.params)
        elif name := changed_list(self._peer, method, message.params, self._id):
            self._tell(name)

    def _acknowledged(self, params: msgspec.Raw) -> None:
        if self._id is None or subscription_of(params) != self._id or not self._missed:
            return
        self._missed = False
        for name in self._lists:
            self._tell(name)

    def _cancelled(self, params: msgspec.Raw) -> None:
        try:
            ended = msgspec.json.decode(params, type=_Cancelled).request_id
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        if self._id is not None and ended == self._id:
            self._id = None
            self._again()

    def _again(self) -> None:
        """Listen anew after a pause, and then take all lists for changed meanwhile."""
        self._missed = True
        self._timer = self._loop.call_later(self._pause, self.open)
        self._pause = min(self._pause * 2, LONGEST_PAUSE_S)

    def _tell(self, name: str) -> None:
        # Not within the reader: what it raises is the loop's to report and harms no request.
        self._loop.call_soon(self._changed, name)
