"""A life's signs: what tells a server that serves from one that is frozen or not needed."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import msgspec

from domain.model.servers import Era, ServerSpec
from domain.model.tools import CallTimedOut, PeerRefused
from domain.ports.mcp import McpSession, SessionClosed
from domain.ports.system import Clock

PINGS_MISSED = 3
# One may be lost to a busy moment; three in a row, while no call of its waits, are no moment.
QUIET_LOOK_S = 0.05
# How often a life that is due to end is looked at for a moment without calls.


class End(msgspec.Struct, frozen=True, kw_only=True):
    """Why a life ends. Not a `failure`: it was not needed, or (`again`) it was old enough."""

    reason: str
    failure: bool = True
    again: bool = False


class Vitals:
    """A server's signs, noted as they come.

    `changed` is told when it falls ill, with the reason, and with an empty text when it recovers.
    `last_ok_at` is None until its first good answer.
    """

    def __init__(self, clock: Clock, changed: Callable[[str], None]) -> None:
        self._clock = clock
        self._changed = changed
        self._ill = False
        self.last_ok_at: float | None = None
        self.begun_at = self.last_used_at = clock.monotonic()
        self.timeouts = 0

    def begin(self) -> None:
        """A new life has just listed its tools."""
        self._ill = False
        self.begun_at = self.last_used_at = self._clock.monotonic()
        self.answered()

    def answered(self) -> None:
        """It gave a good answer, to whomever."""
        self.last_ok_at = self._clock.monotonic()
        self.timeouts = 0
        if self._ill:
            self._ill = False
            self._changed("")

    def used(self) -> None:
        """A caller's request was answered."""
        self.last_used_at = self._clock.monotonic()
        self.answered()

    def timed_out(self) -> None:
        """A caller's request was not answered in time."""
        self.timeouts += 1

    def silent_for(self) -> float:
        """Seconds since its last good answer, or since its life began."""
        since = self.begun_at if self.last_ok_at is None else self.last_ok_at
        return self._clock.monotonic() - since

    def fell_ill(self, reason: str) -> None:
        """It gives no sign; told once."""
        if not self._ill:
            self._ill = True
            self._changed(reason)


class Care:
    """Watches an open session; returns when the life must end."""

    def __init__(self, spec: ServerSpec, clock: Clock, vitals: Vitals) -> None:
        self._spec = spec
        self._clock = clock
        self._vitals = vitals

    async def canary(self, session: McpSession) -> End:
        """Ask a quiet server for a sign; frozen ones show within one canary interval.

        A server with calls under way may be busy rather than frozen: it is ended only once a
        call of its has run into its deadline as well.
        """
        half = self._spec.canary.total_seconds() / 2
        missed = 0
        while True:
            quiet = self._vitals.silent_for()
            if quiet < half:
                missed = 0
                await asyncio.sleep(half - quiet)
                continue
            if await self._sign(session, half):
                continue
            missed += 1
            silent = self._vitals.silent_for()
            self._vitals.fell_ill(f"no sign of life for {silent:.1f} s")
            busy = session.traffic.in_flight and not self._vitals.timeouts
            if missed >= PINGS_MISSED and not busy:
                return End(reason=f"it gave no sign of life for {silent:.1f} s")

    async def _sign(self, session: McpSession, wait_s: float) -> bool:
        modern = session.peer.era is Era.MODERN
        method = "server/discover" if modern else "ping"
        try:
            await session.request(method, {}, timeout=timedelta(seconds=wait_s))
        except PeerRefused:
            pass  # it lives, whatever it thinks of the question
        except CallTimedOut:
            return False
        except SessionClosed:
            await asyncio.Event().wait()  # who watches the session knows why
        self._vitals.answered()
        return True

    async def age(self, session: McpSession) -> End:
        """Return when the life is over by its spec: not used for long, or old enough."""
        idle_stop, max_life = self._spec.idle_stop, self._spec.max_life
        while True:
            now = self._clock.monotonic()
            left = [
                (since + span.total_seconds() - now, again)
                for since, span, again in (
                    (self._vitals.last_used_at, idle_stop, False),
                    (self._vitals.begun_at, max_life, True),
                )
                if span is not None
            ]
            if not left:
                await asyncio.Event().wait()
            wait_s, again = min(left)
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            elif session.traffic.in_flight:
                await asyncio.sleep(QUIET_LOOK_S)
            elif again:
                return End(reason="its longest life is over", failure=False, again=True)
            else:
                return End(reason="it was not used", failure=False)
