"""The opening of a remote session, in whichever era the server turns out to be."""

import asyncio
import re
from collections.abc import Mapping

from adapters.mcp.eras import Ask, Negotiation, Send, Step
from adapters.mcp.remote.endpoint import SESSION_HEADER, VERSION_HEADER, Endpoint
from adapters.mcp.remote.failures import (
    FORBIDDEN,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    UNAUTHORIZED,
    Failed,
    Harm,
)
from adapters.mcp.wire import (
    Message,
    RequestWriter,
    WireError,
    client_stamp,
    notification,
    read_error,
)
from domain.model.servers import Era
from domain.ports.mcp import HandshakeFailed, Peer

_SESSION_ID = re.compile(r"[\x21-\x7e]{1,1024}")
_NO_ENDPOINT = frozenset({400, NOT_FOUND, METHOD_NOT_ALLOWED})
# What a server of the transport before this one answers to a posted handshake.

Answer = Message | Failed


class Handshake:
    """Carries out what the negotiation says; on return the endpoint's headers are the session's."""

    def __init__(self, endpoint: Endpoint, era: Era | None, client: tuple[str, str]) -> None:
        self._endpoint = endpoint
        self._negotiation = Negotiation(era)
        self._client = client
        self._asked: dict[asyncio.Task[Answer], Ask] = {}
        self._session_id: str | None = None

    async def run(self, probe_s: float) -> Peer:
        """Raises HandshakeFailed."""
        loop = asyncio.get_running_loop()
        deadline: float | None = loop.time() + probe_s
        step = self._negotiation.begin()
        try:
            while not isinstance(step, Peer):
                if isinstance(step, Send):
                    self._asked[asyncio.create_task(self._ask(step))] = step.ask
                elif step is not None:
                    raise step
                left = None if deadline is None else max(0.0, deadline - loop.time())
                done, _ = await asyncio.wait(
                    self._asked, timeout=left, return_when=asyncio.FIRST_COMPLETED
                )
                if done:
                    task = next(task for task in self._asked if task in done)
                    step = self._follow(self._asked.pop(task), task.result())
                else:
                    step, deadline = self._negotiation.unanswered(), None
        finally:
            await self._drop()
        await self._agree(step)
        return step

    async def _ask(self, step: Send) -> Answer:
        request_id = next(self._endpoint.ids)
        name, version = self._client
        headers = {}
        if step.ask is Ask.DISCOVER:
            writer = RequestWriter(client_stamp(step.version, name, version))
            body = writer.request(request_id, step.ask, {})
            headers = {VERSION_HEADER: step.version, "Mcp-Method": step.ask.value}
        else:
            params = {
                "protocolVersion": step.version,
                "capabilities": {},
                "clientInfo": {"name": name, "version": version},
            }
            body = RequestWriter().request(request_id, step.ask, params)
        answers: list[Message] = []

        def take(message: Message) -> bool:
            if message.method is None and message.id == request_id:
                answers.append(message)
            return bool(answers)

        opened = self._note_session if step.ask is Ask.INITIALIZE else None
        failed = await self._endpoint.ask(request_id, headers, body, take, opened=opened)
        return failed or answers[0]

    def _note_session(self, headers: Mapping[str, str]) -> None:
        self._session_id = headers.get(SESSION_HEADER)

    def _follow(self, ask: Ask, answer: Answer) -> Step:
        if isinstance(answer, Message):
            if answer.error is not None:
                return self._negotiation.refused(ask, read_error(answer.error))
            return self._negotiation.answered(ask, answer.result)
        if _final(answer):
            return _failure(answer)
        step = self._negotiation.refused(ask, WireError())
        return _failure(answer) if isinstance(step, HandshakeFailed) else step

    async def _agree(self, peer: Peer) -> None:
        self._endpoint.fixed[VERSION_HEADER] = peer.protocol_version
        if peer.era is Era.MODERN:
            return
        if self._session_id is not None:
            if not _SESSION_ID.fullmatch(self._session_id):
                raise HandshakeFailed("the server's session id is malformed")
            self._endpoint.fixed[SESSION_HEADER] = self._session_id
        failed = await self._endpoint.tell(notification("notifications/initialized"))
        if failed is not None:
            raise _failure(failed)

    async def _drop(self) -> None:
        """Closing the connection of a request that nobody waits for is all it takes."""
        for task in self._asked:
            task.cancel()
        if self._asked:
            await asyncio.wait(self._asked)


def _final(failed: Failed) -> bool:
    """Whether the other opening would end the same way."""
    refused = failed.status in {UNAUTHORIZED, FORBIDDEN} or 0 < failed.status < 400  # noqa: PLR2004
    return refused or not failed.sent or failed.retry_after is not None


def _failure(failed: Failed) -> HandshakeFailed:
    reason = failed.reason
    if failed.harm is not Harm.LOST and failed.status in _NO_ENDPOINT:
        reason += "; the transport HTTP+SSE of 2024-11-05 is not spoken here"
    return HandshakeFailed(reason, retry_after=failed.retry_after)
