"""An open session with a remote server: each request is an exchange of its own."""

import asyncio
from collections.abc import Coroutine, Mapping
from datetime import timedelta
from typing import Any

import msgspec

from adapters.mcp.answers import outcome_of, read_progress
from adapters.mcp.listing import Pages
from adapters.mcp.remote.ear import Ear
from adapters.mcp.remote.endpoint import SESSION_HEADER, Endpoint
from adapters.mcp.remote.failures import BROKEN_OFF, Failed, Harm
from adapters.mcp.remote.mirror import Mirror
from adapters.mcp.wire import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    Message,
    RequestWriter,
    answer_to,
    notification,
)
from domain.model.servers import Era
from domain.model.tools import CallTimedOut, PeerRefused
from domain.ports.mcp import Changed, Peer, ProgressSink, SessionClosed, Traffic

EAR_WAIT_S = 1.0
# A change between the first listing and the open ear would go unheard; some servers send nothing,
# not even headers, before there is something to tell.
TELL_TIMEOUT_S = 5.0
MAX_TELLING = 64
# A server that asks but never reads must not fill our memory with answers.
SIGNS = frozenset({"ping", "server/discover"})
# What a server is asked only to see whether it lives.
GOODBYE_S = 0.5
# Ending a server's session is a courtesy; it forgets it by itself in the end.


class _Flight:
    """A request that waits. Its bound is its timeout and, when the session ends, ends it too."""

    __slots__ = ("bound", "fault", "latest", "sink", "timeout_s", "until")

    def __init__(self, bound: asyncio.Timeout, sink: ProgressSink | None) -> None:
        self.bound = bound
        self.sink = sink
        self.fault: Exception | None = None
        self.latest = float("-inf")
        self.timeout_s = 0.0
        self.until: float | None = None

    def extend(self, now: float) -> None:
        """Its time begins anew, up to its longest; an end that has come stays."""
        if self.until is not None and self.fault is None and not self.bound.expired():
            self.bound.reschedule(min(now + self.timeout_s, self.until))


class HttpSession:
    """Made by the connector once the peer is known.

    Over HTTP an answer may break off, or a call may be more than a server can do, while it is well
    otherwise: that request raises SessionClosed with `sent` True and the session stays open. A
    sign of life that fails so ends the session. A request that the server puts off (429, or 503
    with Retry-After) raises PeerRefused with its `retry_after`.
    """

    def __init__(
        self, endpoint: Endpoint, peer: Peer, writer: RequestWriter, changed: Changed
    ) -> None:
        self._endpoint = endpoint
        self._peer = peer
        self._writer = writer
        self._mirror = Mirror() if peer.era is Era.MODERN else None
        self._loop = asyncio.get_running_loop()
        self._flights: dict[int, _Flight] = {}
        self._landed = asyncio.Event()
        self._requests = 0
        self._stray = 0
        self._ended: asyncio.Future[str] = self._loop.create_future()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing: asyncio.Task[None] | None = None
        self._ear = Ear(endpoint, peer, writer, changed)

    async def begin(self) -> None:
        """Listen for changes; return when the ear is open, will not be, or takes too long."""
        self._spawn(self._ear.listen(self._received, self._end))
        try:
            async with asyncio.timeout(EAR_WAIT_S):
                await self._ear.settled.wait()
        except TimeoutError:
            pass  # it may open yet

    @property
    def peer(self) -> Peer:
        return self._peer

    @property
    def traffic(self) -> Traffic:
        return Traffic(
            in_flight=len(self._flights),
            requests=self._requests,
            bytes_in=self._endpoint.bytes_in,
            bytes_out=self._endpoint.bytes_out,
            noise_lines=self._endpoint.noise + self._stray,
        )

    async def request(
        self,
        method: str,
        params: Mapping[str, Any],
        *,
        timeout: timedelta,  # noqa: ASYNC109 - the port's: expiry tells the peer
        longest: timedelta | None = None,
        progress: ProgressSink | None = None,
    ) -> msgspec.Raw:
        if self._ended.done():
            raise SessionClosed(f"the session has ended: {self._ended.result()}", sent=False)
        request_id = next(self._endpoint.ids)
        wants_progress = progress is not None or longest is not None
        body = self._writer.request(request_id, method, params, with_progress=wants_progress)
        headers = self._mirror.headers(method, params) if self._mirror is not None else {}
        bound = asyncio.timeout(timeout.total_seconds())
        flight = self._flights[request_id] = _Flight(bound, progress)
        flight.timeout_s = timeout.total_seconds()
        if longest is not None:
            flight.until = self._loop.time() + longest.total_seconds()
        self._requests += 1
        answer: Message | Failed | None = None
        try:
            async with bound:
                answer = await self._exchange(request_id, headers, body)
        except TimeoutError:
            raise self._cut_short(flight, method) from None
        finally:
            self._land(request_id, given_up=answer is None)
        return self._outcome(answer, method)

    async def list_all(
        self,
        method: str,
        key: str,
        *,
        timeout: timedelta,  # noqa: ASYNC109 - the port's
    ) -> tuple[Mapping[str, Any], ...]:
        pages = Pages(method, key)
        deadline = self._loop.time() + timeout.total_seconds()
        while (params := pages.next_params()) is not None:
            left = timedelta(seconds=max(0.0, deadline - self._loop.time()))
            pages.add(await self.request(method, params, timeout=left))
        if self._mirror is not None and method == "tools/list":
            return self._mirror.learn(pages.items)
        return pages.items

    async def wait_closed(self) -> str:
        return await asyncio.shield(self._ended)

    async def close(self) -> None:
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        # Whoever waits for it may leave: connections are ended all the same.
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        forgotten = self._ended.done()
        self._end("closed on this side")
        try:
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)
            while self._flights:
                self._landed.clear()
                await self._landed.wait()
            if not forgotten and SESSION_HEADER in self._endpoint.fixed:
                await self._tell(None, "DELETE", GOODBYE_S)
        finally:
            await self._endpoint.aclose()

    async def _exchange(
        self, request_id: int, headers: Mapping[str, str], body: bytes
    ) -> Message | Failed:
        answers: list[Message] = []

        def take(message: Message) -> bool:
            if message.method is None and message.id == request_id and not answers:
                answers.append(message)
            else:
                self._received(message)
            return bool(answers)

        events = self._endpoint.events()
        failed = await self._endpoint.ask(request_id, headers, body, take, events=events)
        # A legacy server may end a stream early and be asked for the rest of it.
        while failed is BROKEN_OFF and self._mirror is None and events.last_id is not None:
            await asyncio.sleep(events.retry_s)
            failed = await self._endpoint.listen({}, take, events)
            if failed is not None and failed.harm is Harm.REFUSED:
                failed = BROKEN_OFF
                break
        return failed or answers[0]

    def _outcome(self, answer: Message | Failed, method: str) -> msgspec.Raw:
        if isinstance(answer, Failed):
            raise self._failure(answer, method)
        outcome = outcome_of(answer, self._peer.era)
        if isinstance(outcome, PeerRefused):
            if outcome.code == HEADER_MISMATCH and method == "tools/call":
                # The tool wants other headers than when it was listed.
                self._ear.tell("tools")
            raise outcome
        return outcome

    def _failure(self, failed: Failed, method: str) -> Exception:
        if failed.harm is Harm.REFUSED:
            return PeerRefused(INTERNAL_ERROR, failed.reason, retry_after=failed.retry_after)
        if failed.harm is Harm.FATAL or (failed.harm is Harm.DOUBT and method in SIGNS):
            self._end(failed.reason)
        return SessionClosed(f"no answer came: {failed.reason}", sent=failed.sent)

    def _cut_short(self, flight: _Flight, method: str) -> Exception:
        if flight.fault is not None:
            return flight.fault
        if self._ended.done():
            reason = self._ended.result()
            return SessionClosed(f"the session ended before the answer: {reason}", sent=True)
        return CallTimedOut(f"no answer to {method} in time")

    def _land(self, request_id: int, *, given_up: bool) -> None:
        del self._flights[request_id]
        self._landed.set()
        if given_up and self._peer.era is Era.LEGACY and not self._ended.done():
            # In the modern era the closed connection says it.
            params = {"requestId": request_id, "reason": "given up by the caller"}
            self._spawn(self._tell(notification("notifications/cancelled", params)))

    def _received(self, message: Message) -> None:
        """Take what is not the awaited answer, from any stream."""
        if message.method is None or (message.id is not None and self._mirror is not None):
            # A modern server must not ask.
            self._stray += 1
        elif message.id is not None:
            if len(self._tasks) < MAX_TELLING:
                self._spawn(self._tell(answer_to(message)))
        elif message.method == "notifications/progress":
            self._progressed(message.params)
        else:
            self._ear.notified(message)

    def _progressed(self, params: msgspec.Raw) -> None:
        report = read_progress(params)
        if report is None:
            self._stray += 1
            return
        request_id, progress = report
        flight = self._flights.get(request_id)
        if flight is None or progress.progress <= flight.latest:
            return
        flight.latest = progress.progress
        flight.extend(self._loop.time())
        if flight.sink is None:
            return
        try:
            flight.sink(progress)
        except Exception as fault:  # noqa: BLE001 - its owner's fault, and its owner gets it
            flight.fault = fault
            self._cut(flight)

    async def _tell(
        self, body: bytes | None, verb: str = "POST", limit_s: float = TELL_TIMEOUT_S
    ) -> None:
        """Send what is not answered; only that the session is gone is of interest."""
        try:
            async with asyncio.timeout(limit_s):
                failed = await self._endpoint.tell(body, verb)
        except TimeoutError:
            return
        if failed is not None and failed.harm is Harm.FATAL:
            self._end(failed.reason)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _cut(self, flight: _Flight) -> None:
        if not flight.bound.expired():
            flight.bound.reschedule(self._loop.time())

    def _end(self, reason: str) -> None:
        """The session is over: every waiting request is to know at once."""
        if self._ended.done():
            return
        self._ended.set_result(reason)
        for flight in self._flights.values():
            self._cut(flight)
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
