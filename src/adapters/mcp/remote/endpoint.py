"""A server's address: one pool of connections, what is sent there and what comes back."""

import asyncio
import itertools
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import httpx
import msgspec

from adapters.mcp.channel import UNASKED_LINES, UNASKED_PAUSE_S
from adapters.mcp.remote.entries import address_of, checked, on_this_machine, secrets_of
from adapters.mcp.remote.events import Events
from adapters.mcp.remote.failures import (
    BROKEN,
    BROKEN_OFF,
    FORBIDDEN,
    NOT_FOUND,
    NOT_MCP,
    SERVER_ERROR,
    TOO_LARGE,
    TOO_MANY,
    UNANSWERED,
    UNAUTHORIZED,
    Failed,
    refusal,
    unreachable,
)
from adapters.mcp.wire import Message, read_line
from domain.model.servers import Remote

CONNECT_TIMEOUT_S = 5.0
# A server that is there accepts at once, also across oceans.
MAX_CONNECTIONS = 64
# More calls than this at once wait for their turn; one stream is always taken by the changes.
MAX_IDLE = 16
IDLE_S = 4.0
# Under the 5 s after which uvicorn and Node close idle connections, often while a request comes.
DRAIN_S = 0.02
# A server that ends its stream right after the answer lets the connection be used again.
MAX_ERROR_BYTES = 65_536
SESSION_HEADER = "Mcp-Session-Id"
VERSION_HEADER = "MCP-Protocol-Version"
EVENT_STREAM = "text/event-stream"

Take = Callable[[Message], bool]
# Called with each message that comes in; True when nothing more is wanted.
Opened = Callable[[Mapping[str, str]], None]
# Called with the headers of a response that is a success, before its messages.


class Endpoint:
    """Where messages are posted. `fixed` are the headers of every request from now on.

    The server's own headers are sent with each request and shown nowhere.
    """

    def __init__(self, recipe: Remote, tls: ssl.SSLContext, answer_bytes: int) -> None:
        self._url = address_of(recipe.url)
        self._client = httpx.AsyncClient(
            headers=checked(recipe.headers),
            verify=tls,
            # A server on this machine is reached directly, whatever proxy the environment names.
            trust_env=not on_this_machine(self._url.host),
            timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT_S),
            limits=httpx.Limits(
                max_connections=MAX_CONNECTIONS,
                max_keepalive_connections=MAX_IDLE,
                keepalive_expiry=IDLE_S,
            ),
        )
        self._secrets = secrets_of(recipe.headers)
        self._answer_bytes = answer_bytes
        self.ids = itertools.count(1)
        self.fixed: dict[str, str] = {}
        self.bytes_in = 0
        self.bytes_out = 0
        self.noise = 0

    def events(self) -> Events:
        """A stream of events within this server's bound."""
        return Events(self._answer_bytes)

    async def ask(  # noqa: PLR0913 - one exchange is all of this
        self,
        request_id: int,
        headers: Mapping[str, str],
        body: bytes,
        take: Take,
        *,
        events: Events | None = None,
        opened: Opened | None = None,
    ) -> Failed | None:
        """Post a request and hand on what comes back; None once `take` has what it wants."""
        headers = {"Accept": f"application/json, {EVENT_STREAM}", **headers}
        return await self._exchange(
            request_id, ("POST", headers, body), take, events or self.events(), opened
        )

    async def listen(
        self,
        headers: Mapping[str, str],
        take: Take,
        events: Events,
        opened: Opened | None = None,
    ) -> Failed | None:
        """Open a legacy server's own stream, or take up a broken one where it broke."""
        headers = {"Accept": EVENT_STREAM, **headers}
        if events.last_id is not None:
            headers["Last-Event-ID"] = events.last_id
        events.restart()
        return await self._exchange(None, ("GET", headers, None), take, events, opened)

    async def tell(self, body: bytes | None, verb: str = "POST") -> Failed | None:
        """Send what is not answered."""
        headers = {"Accept": f"application/json, {EVENT_STREAM}"}
        return await self._exchange(None, (verb, headers, body), None, self.events(), None)

    async def aclose(self) -> None:
        """End all connections."""
        await self._client.aclose()

    async def _exchange(
        self,
        request_id: int | None,
        request: tuple[str, Mapping[str, str], bytes | None],
        take: Take | None,
        events: Events,
        opened: Opened | None,
    ) -> Failed | None:
        failed = BROKEN
        try:
            async with self._response(*request) as response:
                failed = BROKEN_OFF
                if not response.is_success:
                    return await self._refused(response, request_id, take)
                if opened is not None:
                    opened(response.headers)
                if take is None:
                    await self._whole(response, MAX_ERROR_BYTES)
                    return None
                return await self._read(response, take, events)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as fault:
            # What httpx says can hold headers and addresses; it goes no further.
            return unreachable(str(self._url), _tls_fault(fault))
        except httpx.TransportError:
            return failed

    @asynccontextmanager
    async def _response(
        self, verb: str, headers: Mapping[str, str], body: bytes | None
    ) -> AsyncIterator[httpx.Response]:
        # Compressed bodies would have to be bounded twice.
        given = {"Accept-Encoding": "identity", **self.fixed, **headers}
        if body is not None:
            given["Content-Type"] = "application/json"
            self.bytes_out += len(body)
        request = self._client.build_request(verb, self._url, headers=given, content=body)
        request.url = self._url
        response = await self._client.send(request, stream=True)
        try:
            yield response
        finally:
            await response.aclose()

    async def _read(self, response: httpx.Response, take: Take, events: Events) -> Failed | None:
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            return NOT_MCP
        if kind == EVENT_STREAM:
            return await self._stream(response, take, events)
        if kind != "application/json":
            return NOT_MCP if kind or response.status_code == httpx.codes.OK else UNANSWERED
        body = await self._whole(response, self._answer_bytes)
        if body is None:
            return TOO_LARGE
        messages = self._messages(body)
        if not messages:
            return NOT_MCP
        return None if self._handed_on(messages, take) else UNANSWERED

    async def _stream(self, response: httpx.Response, take: Take, events: Events) -> Failed | None:
        pieces, unasked = response.aiter_raw(), 0
        async for piece in pieces:
            self.bytes_in += len(piece)
            unasked = await _paced(unasked + (piece.count(b"\n") >> 4))
            for data in events.feed(piece):
                if self._handed_on(self._messages(data), take):
                    await _drain(pieces)
                    return None
                unasked = await _paced(unasked + 1 + (len(data) >> 10))
            if events.overflowed:
                return TOO_LARGE
        return BROKEN_OFF

    async def _refused(
        self, response: httpx.Response, request_id: int | None, take: Take | None
    ) -> Failed | None:
        """A JSON-RPC error to this very request is an answer, whatever the status beside it."""
        status, in_session = response.status_code, SESSION_HEADER in self.fixed
        body = await self._whole(response, MAX_ERROR_BYTES) or b""
        if take is not None and request_id is not None and status not in {UNAUTHORIZED, FORBIDDEN}:
            for secret in self._secrets:
                body = body.replace(secret, b"***")
            forgotten = status == NOT_FOUND and in_session
            vague = forgotten or status == TOO_MANY or status >= SERVER_ERROR
            for error in read_line(body)[0]:
                if error.error is not None and (error.id == request_id or not vague):
                    take(msgspec.structs.replace(error, id=request_id))
                    return None
        return refusal(status, response.headers, in_session=in_session)

    async def _whole(self, response: httpx.Response, limit: int) -> bytes | None:
        """The body, None where it is over the limit."""
        parts, size = [], 0
        async for piece in response.aiter_raw():
            self.bytes_in += len(piece)
            size += len(piece)
            if size > limit:
                return None
            parts.append(piece)
        return b"".join(parts)

    def _messages(self, data: bytes) -> list[Message]:
        messages, noise = read_line(data)
        self.noise += noise
        return messages

    @staticmethod
    def _handed_on(messages: list[Message], take: Take) -> bool:
        wanted = False
        for message in messages:
            wanted = take(message) or wanted
        return wanted


async def _paced(unasked: int) -> int:
    """Let a server that floods us wait, as one on a pipe does."""
    if unasked < UNASKED_LINES:
        return unasked
    await asyncio.sleep(UNASKED_PAUSE_S * unasked / UNASKED_LINES)
    return 0


async def _drain(pieces: AsyncIterator[bytes]) -> None:
    try:
        async with asyncio.timeout(DRAIN_S):
            async for _ in pieces:
                pass
    except (TimeoutError, httpx.TransportError):
        pass  # the answer is here: the connection is given up, no more


def _tls_fault(fault: BaseException | None) -> str:
    """What is wrong with the server's certificate, empty where that is not the trouble."""
    while fault is not None:
        if isinstance(fault, ssl.SSLCertVerificationError):
            return fault.verify_message
        fault = fault.__cause__ or fault.__context__
    return ""
