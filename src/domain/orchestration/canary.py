"""Finding out whether a server still answers when its calls do not tell."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from domain.model.servers import Era
from domain.model.tools import CallTimedOut, PeerRefused
from domain.ports.mcp import McpSession, SessionClosed

PATIENCE = timedelta(seconds=0.8)
# A death must show within a second of the doubt; a ping takes a server less than a millisecond.
QUIET_S = 30.0
# Without an answer for so long it is asked unprompted: seldom enough to leave its log readable.
SICK_PAUSE_S = 2.0
# Until it is asked again while it does not answer.


class Canary:
    """Asks a session for a sign of life when doubted, and when it has long been quiet.

    `quiet_s` tells for how long there was no answer, `told` is given each finding.
    """

    def __init__(
        self, session: McpSession, quiet_s: Callable[[], float], told: Callable[[bool], None]
    ) -> None:
        self._session = session
        self._quiet_s = quiet_s
        self._told = told
        self._doubts = asyncio.Event()

    def doubt(self) -> None:
        """A call had no answer in time."""
        self._doubts.set()

    async def run(self) -> None:
        """Watch until cancelled or until the session has ended."""
        alive, pause = True, QUIET_S
        while True:
            try:
                async with asyncio.timeout(pause):
                    await self._doubts.wait()
            except TimeoutError:
                if alive and (pause := QUIET_S - self._quiet_s()) > 0:
                    continue
            self._doubts.clear()
            try:
                alive = await self._answers()
            except SessionClosed:
                return
            self._told(alive)
            pause = QUIET_S if alive else SICK_PAUSE_S

    async def _answers(self) -> bool:
        # Modern revisions have no ping; discovery is their cheap, mandatory answer.
        modern = self._session.peer.era is Era.MODERN
        method = "server/discover" if modern else "ping"
        try:
            await self._session.request(method, {}, timeout=PATIENCE)
        except CallTimedOut:
            return False
        except PeerRefused:
            return True  # an error is an answer too
        return True
