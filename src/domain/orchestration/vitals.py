"""A life's signs: what tells a server that serves from one that is frozen or not needed."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import msgspec

from domain.model.breakers import BreakerState
from domain.model.latency import smoothed
from domain.model.servers import Era, ServerSpec
from domain.model.tools import CallTimedOut, PeerRefused
from domain.ports.mcp import McpSession, SessionClosed
from domain.ports.system import Clock
from domain.timed_breaker import TimedBreaker

DOUBT_S = 0.8
# After a call without an answer a sign is waited for this long: a freeze shows within a second.
FROZEN = 3
# Canary intervals without a sign after which a server is ended.
FROZEN_BUSY = 6
# The same where calls are under way and one of them has run into its deadline.
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
    It is `ill` while it is silent; one that gives signs is not well while its `breaker` is open,
    which guards the calls of a remote server.
    `last_ok_at` is None until its first good answer; `latency_ms` is a moving mean over answered
    requests of callers, None before the first.
    """

    def __init__(self, clock: Clock, changed: Callable[[str], None]) -> None:
        self._clock = clock
        self._changed = changed
        self._silence = self._failing = self._told = ""
        self.breaker = TimedBreaker(clock, changed=self._breaker_changed)
        self.doubted = asyncio.Event()
        self.last_ok_at: float | None = None
        self.begun_at = self.last_used_at = clock.monotonic()
        self.timeouts = 0
        self.latency_ms: float | None = None

    @property
    def ill(self) -> bool:
        """Whether it gives no sign."""
        return bool(self._silence)

    def begin(self) -> None:
        """A new life has just listed its tools."""
        self.breaker.reset()
        self._silence = self._failing = self._told = ""
        self.doubted.clear()
        self.begun_at = self.last_used_at = self._clock.monotonic()
        self.answered()

    def answered(self) -> None:
        """It gave a good answer, to whomever."""
        self._well_at(self._clock.monotonic())

    def _well_at(self, now: float) -> None:
        self.last_ok_at = now
        self.timeouts = 0
        if self._silence:
            self._silence = ""
            self._tell()

    def used(self, asked_at: float) -> None:
        """A caller's request, sent at `asked_at` (monotonic), was answered."""
        self.last_used_at = now = self._clock.monotonic()
        self.latency_ms = smoothed(self.latency_ms, (now - asked_at) * 1000)
        self._well_at(now)

    def timed_out(self) -> None:
        """A caller's request was not answered in time: whether it lives is looked at now."""
        self.timeouts += 1
        self.doubted.set()

    def silent_for(self) -> float:
        """Seconds since its last good answer, or since its life began."""
        since = self.begun_at if self.last_ok_at is None else self.last_ok_at
        return self._clock.monotonic() - since

    def fell_ill(self, reason: str) -> None:
        """It gives no sign; told once."""
        if not self._silence:
            self._silence = reason
            self._tell()

    def _breaker_changed(self) -> None:
        now, self._failing = self.breaker.now, ""
        if now.state is not BreakerState.CLOSED:
            self._failing = f"{now.failures} calls in a row failed: {now.reason}"
        self._tell()

    def _tell(self) -> None:
        illness = self._silence or self._failing
        if illness != self._told:
            self._told = illness
            self._changed(illness)


class Care:
    """Watches an open session; returns when the life must end."""

    def __init__(self, spec: ServerSpec, clock: Clock, vitals: Vitals) -> None:
        self._spec = spec
        self._clock = clock
        self._vitals = vitals

    async def canary(self, session: McpSession) -> End:
        """Ask a quiet or doubted server for a sign; frozen ones show within one canary interval.

        A server with calls under way may be busy rather than frozen: it is ended later, and only
        once a call of its has run into its deadline as well.
        """
        vitals, interval = self._vitals, self._spec.canary.total_seconds()
        while True:
            wait_s = interval / 2
            if vitals.doubted.is_set():
                vitals.doubted.clear()
                wait_s = min(wait_s, DOUBT_S)
            elif not vitals.ill and (rest := wait_s - vitals.silent_for()) > 0:
                await self._doubted_within(rest)
                continue
            if await self._sign(session, wait_s):
                continue
            vitals.fell_ill("it does not answer")
            silent, busy = vitals.silent_for(), session.traffic.in_flight
            if silent >= interval * (FROZEN_BUSY if busy else FROZEN) and (
                vitals.timeouts or not busy
            ):
                return End(reason=f"it did not answer for {silent:.1f} s")

    async def _doubted_within(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._vitals.doubted.wait()
        except TimeoutError:
            return  # it has been quiet for long enough to ask

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
            await _ended_within(session, wait_s)
            return False
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


async def _ended_within(session: McpSession, wait_s: float) -> None:
    """Return where the session goes on: over HTTP an answer may break off alone."""
    try:
        async with asyncio.timeout(wait_s):
            await session.wait_closed()
    except TimeoutError:
        return
    await asyncio.Event().wait()  # who watches the session knows why it ended
