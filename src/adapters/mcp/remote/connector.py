"""Opening sessions with remote servers."""

import asyncio
import ssl
from functools import cached_property

import httpx

from adapters.mcp.remote.endpoint import Endpoint
from adapters.mcp.remote.handshake import Handshake
from adapters.mcp.remote.session import HttpSession
from adapters.mcp.wire import RequestWriter, client_stamp
from domain.model.servers import Era, Remote
from domain.ports.mcp import Changed, HandshakeFailed, Opening, Peer


class HttpConnector:
    """Opens MCP sessions under this client's name."""

    def __init__(self, client_name: str, client_version: str) -> None:
        self._client = (client_name, client_version)

    async def dial(self, recipe: Remote, opening: Opening, changed: Changed) -> HttpSession:
        endpoint = Endpoint(recipe, self._tls, opening.line_bytes)
        handshake = Handshake(endpoint, opening.era, self._client)
        try:
            async with asyncio.timeout(opening.start_timeout.total_seconds()):
                peer = await handshake.run(opening.probe_timeout.total_seconds())
        except TimeoutError:
            await endpoint.aclose()
            seconds = opening.start_timeout.total_seconds()
            raise HandshakeFailed(f"no handshake within {seconds:g} s") from None
        except BaseException:
            await endpoint.aclose()
            raise
        return await self._opened(endpoint, peer, changed)

    async def _opened(self, endpoint: Endpoint, peer: Peer, changed: Changed) -> HttpSession:
        stamp = client_stamp(peer.protocol_version, *self._client)
        writer = RequestWriter(stamp if peer.era is Era.MODERN else None)
        session = HttpSession(endpoint, peer, writer, changed)
        try:
            await session.begin()
        except BaseException:
            await session.close()
            raise
        return session

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        # Reading the certificates takes some 20 ms.
        return httpx.create_ssl_context()
