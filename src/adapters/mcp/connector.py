"""Opening sessions: the handshake over a channel, in whichever era the peer turns out to be."""

import asyncio
from collections.abc import Callable

from adapters.mcp.channel import Channel
from adapters.mcp.eras import Ask, Negotiation, Send, Step
from adapters.mcp.session import StreamSession
from adapters.mcp.wire import Message, RequestWriter, client_stamp, notification, read_error
from domain.model.servers import Era
from domain.ports.launching import ByteStream
from domain.ports.mcp import Changed, HandshakeFailed, Opening, Peer


class StreamConnector:
    """Opens MCP sessions under this client's name."""

    def __init__(self, client_name: str, client_version: str) -> None:
        self._name = client_name
        self._version = client_version

    async def connect(
        self, stream: ByteStream, opening: Opening, changed: Changed
    ) -> StreamSession:
        channel = Channel(stream, opening.line_bytes)

        def open_session(peer: Peer) -> StreamSession:
            modern = peer.era is Era.MODERN
            stamp = client_stamp(peer.protocol_version, self._name, self._version)
            return StreamSession(channel, peer, RequestWriter(stamp if modern else None), changed)

        handshake = _Handshake(channel, opening.era, (self._name, self._version), open_session)
        try:
            async with asyncio.timeout(opening.start_timeout.total_seconds()):
                return await handshake.run(opening.probe_timeout.total_seconds())
        except TimeoutError:
            await channel.close("the handshake took too long")
            seconds = opening.start_timeout.total_seconds()
            raise HandshakeFailed(f"no handshake within {seconds:g} s") from None
        except BaseException:
            await channel.close("the handshake failed")
            raise


class _Handshake:
    """Carries out what the negotiation says, inside the reader, so that no message is missed."""

    def __init__(
        self,
        channel: Channel,
        era: Era | None,
        client: tuple[str, str],
        open_session: Callable[[Peer], StreamSession],
    ) -> None:
        self._channel = channel
        self._negotiation = Negotiation(era)
        self._client = client
        self._open_session = open_session
        self._asked: dict[int, Ask] = {}
        self._outcome: asyncio.Future[StreamSession | Exception] = (
            asyncio.get_running_loop().create_future()
        )

    async def run(self, probe_s: float) -> StreamSession:
        self._channel.start(self)
        timer = asyncio.get_running_loop().call_later(
            probe_s, lambda: self._follow(self._negotiation.unanswered())
        )
        try:
            self._follow(self._negotiation.begin())
            outcome = await self._outcome
        finally:
            timer.cancel()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def receive(self, message: Message) -> None:
        if message.method is not None:
            return
        ask = self._asked.pop(message.id, None) if isinstance(message.id, int) else None
        if message.error is not None and (ask is not None or message.id is None):
            self._follow(self._negotiation.refused(ask, read_error(message.error)))
        elif ask is not None:
            self._follow(self._negotiation.answered(ask, message.result))
        else:
            self._channel.count_noise()

    def ended(self, reason: str) -> None:
        self._follow(self._negotiation.ended(reason))

    def _follow(self, step: Step) -> None:
        if self._outcome.done() or step is None:
            return
        if isinstance(step, Send):
            self._send(step)
        elif isinstance(step, Peer):
            self._agree(step)
        else:
            self._outcome.set_result(step)

    def _send(self, step: Send) -> None:
        request_id = next(self._channel.ids)
        self._asked[request_id] = step.ask
        name, version = self._client
        if step.ask is Ask.DISCOVER:
            writer = RequestWriter(client_stamp(step.version, name, version))
            line = writer.request(request_id, step.ask, {})
        else:
            params = {
                "protocolVersion": step.version,
                "capabilities": {},
                "clientInfo": {"name": name, "version": version},
            }
            line = RequestWriter().request(request_id, step.ask, params)
        self._channel.post(request_id, line)

    def _agree(self, peer: Peer) -> None:
        if peer.era is Era.LEGACY:
            self._channel.post("initialized", notification("notifications/initialized"))
        self._channel.answers_requests = peer.era is Era.LEGACY
        session = self._open_session(peer)
        session.begin(self._asked)
        self._channel.hand_over(session)
        self._outcome.set_result(session)
