"""An open session: many requests in flight over one channel."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

import msgspec

from adapters.mcp.answers import outcome_of, read_progress
from adapters.mcp.changes import announced_lists
from adapters.mcp.channel import Channel
from adapters.mcp.listing import Pages
from adapters.mcp.subscription import Subscription
from adapters.mcp.wire import Message, RequestWriter, notification
from domain.model.tools import CallTimedOut
from domain.ports.mcp import Changed, Peer, ProgressSink, SessionClosed, Traffic

MAX_REMEMBERED = 1024
# Given up requests whose late answers are expected; older ones count as noise.
NO_PROGRESS = float("-inf")


class _Pending(msgspec.Struct):
    """A request that waits. Its future holds the outcome, failures too, and never raises.

    `until` is the latest (loop's time) that reports may put its expiry off to, once one came.
    """

    future: "asyncio.Future[msgspec.Raw | Exception]"
    timer: asyncio.TimerHandle
    method: str
    timeout_s: float
    longest: timedelta | None
    sink: ProgressSink | None
    latest: float = NO_PROGRESS
    until: float | None = None


class StreamSession:
    """Made by the connector once the peer is known."""

    def __init__(
        self, channel: Channel, peer: Peer, writer: RequestWriter, changed: Changed
    ) -> None:
        self._channel = channel
        self._peer = peer
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._pending: dict[int, _Pending] = {}
        self._given_up: dict[int, None] = {}
        self._requests = 0
        self._changes = Subscription(channel, peer, writer, changed)

    def begin(self, unanswered: Iterable[int]) -> None:
        """Expect late answers to these requests of the handshake, and listen for changes."""
        self._given_up = dict.fromkeys(unanswered)
        if announced_lists(self._peer):
            self._changes.open()

    @property
    def peer(self) -> Peer:
        return self._peer

    @property
    def traffic(self) -> Traffic:
        return Traffic(
            in_flight=len(self._pending),
            requests=self._requests,
            bytes_in=self._channel.bytes_in,
            bytes_out=self._channel.bytes_out,
            noise_lines=self._channel.noise_lines,
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
        if (reason := self._channel.end_reason) is not None:
            raise SessionClosed(f"the session has ended: {reason}", sent=False)
        request_id = next(self._channel.ids)
        wants_progress = progress is not None or longest is not None
        line = self._writer.request(request_id, method, params, with_progress=wants_progress)
        timeout_s = timeout.total_seconds()
        loop = self._loop
        timer = loop.call_later(timeout_s, self._expire, request_id)
        pending = _Pending(loop.create_future(), timer, method, timeout_s, longest, progress)
        self._pending[request_id] = pending
        self._requests += 1
        self._channel.post(request_id, line)
        try:
            outcome = await pending.future
        finally:
            pending.timer.cancel()
            if request_id in self._pending:  # the waiting task was cancelled
                self._give_up(request_id, "cancelled by the caller")
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

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
        return pages.items

    async def wait_closed(self) -> str:
        return await self._channel.wait_closed()

    async def close(self) -> None:
        await self._channel.close("closed on this side")

    def receive(self, message: Message) -> None:
        """Take an answer or a notification from the channel."""
        if message.method is not None:
            self._notified(message)
        elif (pending := self._pending.pop(message.id, None)) is not None:  # type: ignore[arg-type]
            _settle(pending, outcome_of(message, self._peer.era))
        elif message.id in self._given_up:
            del self._given_up[message.id]
        elif not self._changes.answered(message):
            self._channel.count_noise()

    def ended(self, reason: str) -> None:
        """Let every waiting request know at once."""
        self._changes.stop()
        waiting, self._pending = self._pending, {}
        for request_id, pending in waiting.items():
            sent = not self._channel.waits(request_id)
            closed = SessionClosed(f"the session ended before the answer: {reason}", sent=sent)
            _settle(pending, closed)

    def _notified(self, message: Message) -> None:
        if message.method == "notifications/progress":
            self._progressed(message.params)
        else:
            self._changes.notified(message)

    def _progressed(self, params: msgspec.Raw) -> None:
        report = read_progress(params)
        if report is None:
            self._channel.count_noise()
            return
        request_id, progress = report
        pending = self._pending.get(request_id)
        if pending is None or progress.progress <= pending.latest:
            return
        pending.latest = progress.progress
        if pending.longest is not None:
            self._extend(request_id, pending, pending.longest)
        if pending.sink is None:
            return
        try:
            pending.sink(progress)
        except Exception as fault:  # noqa: BLE001 - its owner's fault, and its owner gets it
            self._give_up(request_id, "cancelled by the caller")
            _settle(pending, fault)

    def _extend(self, request_id: int, pending: _Pending, longest: timedelta) -> None:
        """A request whose server reports progress has its time anew, up to its longest."""
        if pending.until is None:
            begun = pending.timer.when() - pending.timeout_s
            pending.until = begun + longest.total_seconds()
        pending.timer.cancel()
        at = min(self._loop.time() + pending.timeout_s, pending.until)
        pending.timer = self._loop.call_at(at, self._expire, request_id)

    def _expire(self, request_id: int) -> None:
        pending = self._pending.get(request_id)
        if pending is None:
            return
        self._give_up(request_id, "timed out")
        _settle(pending, CallTimedOut(f"no answer to {pending.method} in time"))

    def _give_up(self, request_id: int, reason: str) -> None:
        if self._pending.pop(request_id, None) is None or self._channel.withdraw(request_id):
            return
        self._given_up[request_id] = None
        if len(self._given_up) > MAX_REMEMBERED:
            del self._given_up[next(iter(self._given_up))]
        params = {"requestId": request_id, "reason": reason}
        self._channel.post(None, notification("notifications/cancelled", params))


def _settle(pending: _Pending, outcome: msgspec.Raw | Exception) -> None:
    # The future of a task that is being cancelled is done already.
    if not pending.future.done():
        pending.future.set_result(outcome)
