"""Talking MCP over a byte stream, whatever era the peer is of."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Protocol

import msgspec

from domain.errors import Unavailable
from domain.model.servers import DEFAULT_LIMITS, Era, Remote
from domain.model.tasks import TaskProgress
from domain.ports.launching import ByteStream

ProgressSink = Callable[[TaskProgress], None]
Changed = Callable[[str], None]


class HandshakeFailed(Unavailable):
    """No protocol revision in common, or the peer broke the handshake; the message says how."""


class ListingFailed(Unavailable):
    """The pages of a list never end, hold too much, or are of a wrong shape."""


class EndedOnProbe(Unavailable):
    """The peer ended when it was asked for its era (as rmcp below 3 does): legacy.

    Start it again and open with `Era.LEGACY`.
    """


class SessionClosed(Unavailable):
    """The session has ended; the message says why.

    `sent` tells whether the request may have reached the peer, and so may have had an effect.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message, sent=sent)
        self.sent = sent


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """How to open a session.

    `era` None probes; a known era is opened directly. Without an answer to the probe within
    `probe_timeout` the legacy handshake is sent beside it and the first success wins.
    `start_timeout` bounds all of it. `line_bytes` bounds each message of the peer: as `Limits`.
    """

    era: Era | None = None
    probe_timeout: timedelta
    start_timeout: timedelta
    line_bytes: int = DEFAULT_LIMITS.line_bytes


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """What the handshake told of a server."""

    era: Era
    protocol_version: str
    name: str = ""
    version: str = ""
    capabilities: Mapping[str, Any] = msgspec.field(default_factory=dict)
    instructions: str = ""


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of a session since its start. `noise_lines` were no messages (banners, garbage)."""

    in_flight: int
    requests: int
    bytes_in: int
    bytes_out: int
    noise_lines: int


class McpSession(Protocol):
    """An open session: many requests in flight over one stream."""

    @property
    def peer(self) -> Peer:
        """The server at the other end."""
        ...

    @property
    def traffic(self) -> Traffic:
        """Counts as they are now."""
        ...

    async def request(
        self,
        method: str,
        params: Mapping[str, Any],
        *,
        timeout: timedelta,  # noqa: ASYNC109 - the bound is the protocol's: expiry tells the peer
        longest: timedelta | None = None,
        progress: ProgressSink | None = None,
    ) -> msgspec.Raw:
        """Ask and return the result's JSON text, unread.

        With `longest` the peer is asked to report progress, and each report starts `timeout`
        anew, up to `longest` in all. At the end of its time, and when the waiting task is
        cancelled, the peer is sent a cancellation once and a late answer is dropped. `progress`
        is called for each report on this request, never after the return.

        Raises:
            PeerRefused: the peer answered with a JSON-RPC error.
            CallTimedOut: no answer within `timeout`.
            SessionClosed: the session ended before the answer; `sent` says how far it came.
        """
        ...

    async def list_all(
        self,
        method: str,
        key: str,
        *,
        timeout: timedelta,  # noqa: ASYNC109 - as that of `request`
    ) -> tuple[Mapping[str, Any], ...]:
        """Every item of a paged list (`tools/list`, `tools`), pages followed to their end.

        `timeout` is for all pages together. Raises as `request`, and ListingFailed.
        """
        ...

    async def wait_closed(self) -> str:
        """Return the reason when the session has ended; many may wait, at any time."""
        ...

    async def close(self) -> None:
        """End the session: waiting requests raise SessionClosed. The stream is left alone."""
        ...


class McpConnector(Protocol):
    """Opens sessions."""

    async def connect(self, stream: ByteStream, opening: Opening, changed: Changed) -> McpSession:
        """Shake hands over `stream` and return an open session.

        `changed` is called with `tools`, `prompts` or `resources` when the peer says that the
        list is another now.

        Raises:
            EndedOnProbe: see there.
            HandshakeFailed: no common revision, a broken answer, an end, or out of time.
        """
        ...


class RemoteConnector(Protocol):
    """Opens sessions with servers that run elsewhere, over Streamable HTTP."""

    async def dial(self, recipe: Remote, opening: Opening, changed: Changed) -> McpSession:
        """Shake hands and return an open session; both eras, as `McpConnector.connect`.

        The session closes by itself, with its reason, when the server cannot be reached, fails in
        a sign of life (`ping`, `server/discover`), or forgets the session it gave; a slow answer
        does not close it, nor does a server error or a broken connection in another answer's
        place, which is that request's SessionClosed with `sent` True. A request whose connection
        was refused raises SessionClosed with `sent` False.

        Raises:
            HandshakeFailed: unreachable, refused (the message names the status, never a header),
                no common revision, a broken answer, or out of time.
        """
        ...
