"""A remote session behind a breaker: what opens it, what closes it, what goes past it."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from adapters.inmemory.system import ManualClock
from domain.model.breakers import BreakerPolicy, BreakerState
from domain.model.servers import Era, ServerDown, ServerName
from domain.model.tasks import TaskProgress
from domain.model.tools import CallTimedOut, PeerRefused
from domain.orchestration.guarded_session import SHORTEST_WAIT, GuardedSession
from domain.ports.mcp import McpSession, Peer, ProgressSink, SessionClosed, Traffic
from domain.timed_breaker import TimedBreaker

pytestmark = pytest.mark.anyio

PAUSE = timedelta(seconds=4)
POLICY = BreakerPolicy(failures=2, first_pause=PAUSE)
RESULT = msgspec.Raw(b"{}")
LOST = SessionClosed("no answer came", sent=True)
LATE = CallTimedOut("no answer in time")
B = BreakerState


class ScriptedSession:
    """Ends each request as it is told, after a report of progress where there is one to give."""

    def __init__(self) -> None:
        self.outcome: Exception | None = None
        self.report: TaskProgress | None = None
        self.go = asyncio.Event()
        self.go.set()
        self.asked: list[tuple[Any, ...]] = []

    @property
    def peer(self) -> Peer:
        return Peer(era=Era.MODERN, protocol_version="2026-07-28")

    @property
    def traffic(self) -> Traffic:
        return Traffic(in_flight=0, requests=0, bytes_in=0, bytes_out=0, noise_lines=0)

    async def request(
        self,
        method: str,
        params: Mapping[str, Any],
        *,
        timeout: timedelta,  # noqa: ASYNC109 - the port's
        longest: timedelta | None = None,
        progress: ProgressSink | None = None,
    ) -> msgspec.Raw:
        self.asked.append((method, params, timeout, longest))
        if self.report is not None and progress is not None:
            progress(self.report)
        await self.go.wait()
        if self.outcome is not None:
            raise self.outcome
        return RESULT

    async def list_all(
        self,
        method: str,
        key: str,
        *,
        timeout: timedelta,  # noqa: ASYNC109 - the port's signature
    ) -> tuple[Mapping[str, Any], ...]:
        assert timeout
        return ({method: key},)

    async def wait_closed(self) -> str:
        return "closed"

    async def close(self) -> None:
        """Nothing is open."""


class Bench:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.session = ScriptedSession()
        self.breaker = TimedBreaker(self.clock, POLICY)
        self.guarded: McpSession = GuardedSession(self.session, ServerName("far"), self.breaker)

    async def ask(self, timeout: timedelta = SHORTEST_WAIT) -> msgspec.Raw:  # noqa: ASYNC109
        return await self.guarded.request("tools/call", {}, timeout=timeout)

    async def fail(self, *outcomes: Exception) -> None:
        for outcome in outcomes:
            self.session.outcome = outcome
            with pytest.raises(type(outcome)):
                await self.ask()
        self.session.outcome = None

    async def open(self) -> None:
        await self.fail(LOST, LATE)
        assert self.breaker.now.state is B.OPEN


async def test_failures_in_a_row_open_it_and_the_server_is_left_alone() -> None:
    bench = Bench()
    await bench.open()
    with pytest.raises(ServerDown, match="'far' is not asked now") as it:
        await bench.ask()
    assert it.value.retry_after == PAUSE
    assert bench.session.asked == 2 * [("tools/call", {}, SHORTEST_WAIT, None)]
    bench.clock.advance(PAUSE)
    assert await bench.ask() == RESULT
    assert bench.breaker.now.state is B.CLOSED


async def test_any_answer_begins_the_count_anew() -> None:
    bench = Bench()
    for answer in (None, PeerRefused(-32602, "Unknown tool")):
        await bench.fail(LOST)
        bench.session.outcome = answer
        if answer is None:
            await bench.ask()
        else:
            await bench.fail(answer)
    await bench.fail(LOST)
    assert bench.breaker.now.state is B.CLOSED


async def test_a_caller_who_hardly_waited_has_learnt_nothing() -> None:
    bench = Bench()
    bench.session.outcome = LATE
    for _ in range(5):
        with pytest.raises(CallTimedOut):
            await bench.ask(SHORTEST_WAIT / 2)
    assert bench.breaker.now.failures == 0


async def test_a_report_of_progress_ends_the_trial() -> None:
    bench = Bench()
    await bench.open()
    bench.clock.advance(PAUSE)
    bench.session.go.clear()
    bench.session.report = TaskProgress(progress=1)
    heard: list[TaskProgress] = []
    trial = asyncio.create_task(
        bench.guarded.request("tools/call", {}, timeout=SHORTEST_WAIT, progress=heard.append)
    )
    await asyncio.sleep(0)
    assert bench.breaker.now.state is B.CLOSED
    assert heard == [bench.session.report]
    bench.session.go.set()
    await trial


async def test_a_trial_that_is_given_up_leaves_the_next_one_to_try() -> None:
    bench = Bench()
    await bench.open()
    bench.clock.advance(PAUSE)
    bench.session.go.clear()
    trial = asyncio.create_task(bench.ask())
    await asyncio.sleep(0)
    with pytest.raises(ServerDown):
        await bench.ask()
    trial.cancel()
    await asyncio.wait({trial})
    bench.session.go.set()
    await bench.ask()
    assert bench.breaker.now.state is B.CLOSED


async def test_listings_go_past_it() -> None:
    bench = Bench()
    await bench.open()
    assert await bench.guarded.list_all("tools/list", "tools", timeout=timedelta(seconds=20)) == (
        {"tools/list": "tools"},
    )
    assert bench.breaker.now.state is B.OPEN
