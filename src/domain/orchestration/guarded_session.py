"""A remote server's session as callers use it: behind a breaker that real outcomes open."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec

from domain.model.breakers import BreakerOpen
from domain.model.servers import ServerDown, ServerName
from domain.model.tasks import TaskProgress
from domain.model.tools import CallTimedOut, PeerRefused
from domain.ports.mcp import McpSession, Peer, ProgressSink, SessionClosed, Traffic
from domain.timed_breaker import Spell, TimedBreaker

SHORTEST_WAIT = timedelta(seconds=1)
# A caller who waited for less has learnt nothing of the server.


class GuardedSession:
    """Passes requests on, unless too many in a row failed just now: then ServerDown, unasked.

    A request has failed where no answer came in time, or a server error or a broken connection in
    its place; whatever a server answers or reports is a success. Signs of life and listings go
    past it: a server may give them and be well in nothing else, and none of them brings it back.
    """

    def __init__(self, session: McpSession, server: ServerName, breaker: TimedBreaker) -> None:
        self._session = session
        self._server = server
        self._breaker = breaker

    @property
    def peer(self) -> Peer:
        return self._session.peer

    @property
    def traffic(self) -> Traffic:
        return self._session.traffic

    async def request(
        self,
        method: str,
        params: Mapping[str, Any],
        *,
        timeout: timedelta,  # noqa: ASYNC109 - the port's
        longest: timedelta | None = None,
        progress: ProgressSink | None = None,
    ) -> msgspec.Raw:
        spell = self._admitted()

        def heard(report: TaskProgress) -> None:
            self._breaker.succeeded(spell)
            if progress is not None:
                progress(report)

        try:
            result = await self._session.request(
                method, params, timeout=timeout, longest=longest, progress=heard
            )
        except CallTimedOut as failure:
            if timeout >= SHORTEST_WAIT:
                self._breaker.failed(spell, failure.message)
            raise
        except SessionClosed as failure:
            self._breaker.failed(spell, failure.message)
            raise
        except PeerRefused:
            self._breaker.succeeded(spell)
            raise
        else:
            self._breaker.succeeded(spell)
            return result
        finally:
            # Whatever was noted before ended the trial; what is left is a caller who went away.
            self._breaker.abandoned(spell)

    async def list_all(
        self,
        method: str,
        key: str,
        *,
        timeout: timedelta,  # noqa: ASYNC109 - the port's
    ) -> tuple[Mapping[str, Any], ...]:
        return await self._session.list_all(method, key, timeout=timeout)

    async def wait_closed(self) -> str:
        return await self._session.wait_closed()

    async def close(self) -> None:
        await self._session.close()

    def _admitted(self) -> Spell:
        """Raises ServerDown."""
        try:
            return self._breaker.admit()
        except BreakerOpen as refusal:
            raise ServerDown(
                f"The server {self._server!r} is not asked now. {refusal.message}.",
                retry_after=refusal.retry_after,
                server=self._server,
                state=self._breaker.now.state.value,
            ) from refusal
