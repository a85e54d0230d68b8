"""An open session: answers find their requests, and every request ends."""

import asyncio
import itertools
import json
from datetime import timedelta

import pytest

from domain.model.servers import Era
from domain.model.tasks import TaskProgress
from domain.model.tools import CallTimedOut, PeerRefused
from domain.ports.mcp import ListingFailed, McpSession, SessionClosed
from tests.mcp.sessions import (
    FIXTURES,
    LONG,
    SHORT,
    call,
    opening,
    session_by_hand,
    session_with,
    until,
)

pytestmark = pytest.mark.anyio
CALLS = f"{FIXTURES}.calls"
ECHO = {"name": "echo", "arguments": {"text": "hello"}}
ERAS = pytest.mark.parametrize("era", list(Era))


async def seen(session: McpSession) -> list[dict[str, object]]:
    result = await call(session, "seen")
    found: list[dict[str, object]] = json.loads(result["content"][0]["text"])
    return [message for message in found if message["method"] != "notifications/initialized"]


async def test_many_calls_at_once_each_get_their_own_answer() -> None:
    async with session_with("tests/fixtures/mcp_servers/echo.py") as (session, _):
        texts = [f"text {number}" for number in range(500)]
        results = await asyncio.gather(*(call(session, text=text) for text in texts))
        assert [result["content"][0]["text"] for result in results] == texts
        assert session.traffic.requests == 500
        assert session.traffic.in_flight == 0
        assert session.traffic.noise_lines == 0


async def test_answers_may_come_in_any_order() -> None:
    async with session_by_hand() as (session, peer):
        asking = [asyncio.create_task(call(session, str(number))) for number in range(3)]
        requests = [await peer.heard() for _ in asking]
        for request in reversed(requests):
            peer.answer(request, name=request["params"]["name"])
        assert [(await task)["name"] for task in asking] == ["0", "1", "2"]


async def test_every_modern_request_carries_the_envelope() -> None:
    async with session_by_hand() as (session, peer):
        asking = asyncio.create_task(session.request("tools/list", {}, timeout=LONG))
        request = await peer.heard()
        assert request["params"]["_meta"] == {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "tester", "version": "1"},
        }
        peer.answer(request, tools=[])
        await asking


@ERAS
async def test_an_unanswered_call_times_out_and_is_cancelled_once(era: Era) -> None:
    async with session_with("-m", CALLS, "never", how=opening(era)) as (session, _):
        with pytest.raises(CallTimedOut):
            await session.request("tools/call", ECHO, timeout=SHORT)
        assert [(m["method"], m["params"]) for m in await seen(session)] == [
            ("notifications/cancelled", {"requestId": 2, "reason": "timed out"})
        ]
        assert session.traffic.in_flight == 0


@ERAS
async def test_a_cancelled_call_is_cancelled_at_the_peer_once(era: Era) -> None:
    async with session_by_hand(era) as (session, peer):
        asking = asyncio.create_task(call(session))
        request = await peer.heard()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        told = await peer.heard()
        assert told["method"] == "notifications/cancelled"
        assert told["params"]["requestId"] == request["id"]
        peer.answer(request)
        assert peer.heard_nothing_more
        assert session.traffic.in_flight == 0


async def test_an_answer_that_meets_a_cancellation_is_not_cancelled() -> None:
    async with session_by_hand() as (session, peer):
        asking = asyncio.create_task(call(session))
        peer.answer(await peer.heard())
        await until(lambda: session.traffic.in_flight == 0)
        asking.cancel()
        await asyncio.wait({asking})
        assert peer.heard_nothing_more
        assert session.traffic.noise_lines == 0


async def test_a_call_that_was_never_sent_is_taken_back_in_silence() -> None:
    async with session_by_hand() as (session, peer):
        peer.stream.open.clear()
        blocking = asyncio.create_task(call(session, "blocks the pipe"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(CallTimedOut):
            await session.request("tools/call", ECHO, timeout=SHORT)
        peer.stream.open.set()
        peer.answer(await peer.heard())
        await blocking
        assert peer.heard_nothing_more


async def test_a_late_answer_is_dropped_and_is_no_noise() -> None:
    async with session_with("-m", CALLS, "late") as (session, _):
        with pytest.raises(CallTimedOut):
            await session.request("tools/call", ECHO, timeout=SHORT)
        assert await seen(session)
        assert session.traffic.noise_lines == 0


@pytest.mark.parametrize("mode", ["twice", "anothers-id"])
async def test_an_answer_to_nothing_is_noise(mode: str) -> None:
    async with session_with("-m", CALLS, mode) as (session, _):
        assert (await call(session, text="mine"))["content"][0]["text"] == '{"text": "mine"}'
        await seen(session)
        assert session.traffic.noise_lines == 1


@ERAS
async def test_progress_reaches_its_call_while_it_rises(era: Era) -> None:
    reports: list[TaskProgress] = []
    async with session_with("-m", CALLS, "progress", how=opening(era)) as (session, _):
        await session.request("tools/call", ECHO, timeout=LONG, progress=reports.append)
        await seen(session)
    assert reports == [
        TaskProgress(progress=1, total=3, message="so far"),
        TaskProgress(progress=2, total=3, message="so far"),
    ]


async def test_no_progress_is_asked_for_without_a_sink() -> None:
    own = {"_meta": {"progressToken": "theirs"}}
    async with session_by_hand() as (session, peer):
        asking = asyncio.create_task(session.request("tools/call", own, timeout=LONG))
        request = await peer.heard()
        assert "progressToken" not in request["params"]["_meta"]
        peer.answer(request)
        await asking


async def test_each_report_of_progress_begins_the_time_anew() -> None:
    async with session_by_hand() as (session, peer):
        asking = asyncio.create_task(
            session.request("tools/call", ECHO, timeout=timedelta(seconds=1), longest=LONG)
        )
        request = await peer.heard()
        token = request["params"]["_meta"]["progressToken"]
        for number in range(4):
            await asyncio.sleep(0.4)
            peer.notify("notifications/progress", progressToken=token, progress=number)
        peer.answer(request, late=True, resultType="complete")
        assert json.loads(bytes(await asking))["late"] is True


async def test_progress_without_end_ends_with_the_longest_time() -> None:
    half, longest = timedelta(seconds=0.5), timedelta(seconds=1)
    async with session_by_hand() as (session, peer):
        asking = asyncio.create_task(
            session.request("tools/call", ECHO, timeout=half, longest=longest)
        )
        token = (await peer.heard())["params"]["_meta"]["progressToken"]
        for number in itertools.takewhile(lambda _: not asking.done(), itertools.count()):
            peer.notify("notifications/progress", progressToken=token, progress=number)
            await asyncio.sleep(0.05)
        with pytest.raises(CallTimedOut):
            await asking
        assert (await peer.heard())["method"] == "notifications/cancelled"


async def test_a_sink_that_breaks_fails_its_own_call_only() -> None:
    def breaks(report: TaskProgress) -> None:
        raise ZeroDivisionError

    async with session_with("-m", CALLS, "progress") as (session, _):
        with pytest.raises(ZeroDivisionError):
            await session.request("tools/call", ECHO, timeout=LONG, progress=breaks)
        assert [m["method"] for m in await seen(session)] == ["notifications/cancelled"]


async def test_a_legacy_servers_requests_are_answered_and_batches_are_read() -> None:
    how = opening(Era.LEGACY)
    async with session_with("-m", CALLS, "asks-back", how=how) as (session, stream):
        assert await call(session) == {"content": []}
        refusal = {"code": -32601, "message": "Method not found"}
        # The fixture's `seen` reads its own batch as a list, so the bytes are looked at here.
        await until(lambda: b'"b2"' in stream.written)
        lines = [json.loads(line) for line in stream.written.splitlines()]
        assert lines[-3:] == [
            {"jsonrpc": "2.0", "id": "p", "result": {}},
            {"jsonrpc": "2.0", "id": 77, "error": refusal},
            [
                {"jsonrpc": "2.0", "id": "b1", "result": {}},
                {"jsonrpc": "2.0", "id": "b2", "error": refusal},
            ],
        ]


async def test_a_modern_servers_requests_are_noise() -> None:
    async with session_by_hand() as (session, peer):
        peer.say({"jsonrpc": "2.0", "id": 1, "method": "ping"})
        await until(lambda: session.traffic.noise_lines == 1)
        assert peer.heard_nothing_more


async def test_an_overlong_line_ends_its_call_at_once_and_not_the_session() -> None:
    async with session_with("-m", CALLS, "overlong") as (session, _):
        params = {"name": "echo", "arguments": {"long": True}}
        with pytest.raises(PeerRefused, match="too large"):
            await session.request("tools/call", params, timeout=timedelta(seconds=20))
        assert await call(session, long=False)
        assert session.traffic.noise_lines == 1


@pytest.mark.parametrize("kind", ["input_required", "dream"])
async def test_a_result_that_is_not_complete_is_refused(kind: str) -> None:
    async with session_with("-m", CALLS, "result-type") as (session, _):
        with pytest.raises(PeerRefused):
            await call(session, type=kind)
        assert await call(session, type="complete")


async def test_a_refusal_keeps_the_peers_own_words() -> None:
    async with session_with("-m", CALLS, "refuses") as (session, _):
        with pytest.raises(PeerRefused) as refused:
            await call(session)
        assert (refused.value.code, refused.value.message) == (-32602, "Unknown tool: x")
        assert refused.value.data == {"tool": "x"}


async def test_the_end_of_the_peer_ends_every_call_at_once() -> None:
    async with session_with("-m", CALLS, "ends") as (session, _):
        with pytest.raises(SessionClosed) as closed:
            await call(session)
        assert closed.value.sent
        assert "closed its output" in await session.wait_closed()
        with pytest.raises(SessionClosed) as after:
            await call(session)
        assert not after.value.sent


async def test_a_broken_pipe_tells_what_was_never_sent() -> None:
    async with session_by_hand() as (session, peer):
        peer.stream.open.clear()
        first = asyncio.create_task(call(session))
        await until(lambda: session.traffic.bytes_out > 300)
        second = asyncio.create_task(call(session))
        await asyncio.sleep(0)
        peer.stream.broken = True
        peer.stream.open.set()
        outcomes = await asyncio.gather(first, second, return_exceptions=True)
        assert [getattr(outcome, "sent", None) for outcome in outcomes] == [True, False]


async def test_closing_ends_waiting_calls_and_leaves_no_task() -> None:
    before = asyncio.all_tasks()
    async with session_by_hand() as (session, peer):
        asking = asyncio.create_task(call(session))
        waiting = asyncio.create_task(session.wait_closed())
        await peer.heard()
        await session.close()
        with pytest.raises(SessionClosed):
            await asking
        assert await waiting == "closed on this side"
        await session.close()
    assert asyncio.all_tasks() == before


async def test_the_last_answer_needs_no_newline() -> None:
    async with session_by_hand() as (session, peer):
        asking = asyncio.create_task(call(session))
        request = await peer.heard()
        peer.stream.feed(b'{"jsonrpc":"2.0","id":%d,"result":{"x":1}}' % request["id"])
        peer.stream.feed(b"")
        assert await asking == {"x": 1}


async def test_pages_are_followed_to_their_end() -> None:
    async with session_with("-m", f"{FIXTURES}.lists", "pages") as (session, _):
        tools = await session.list_all("tools/list", "tools", timeout=timedelta(seconds=20))
        assert [tool["name"] for tool in tools] == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("mode", "words", "requests"),
    [("endless", "never end", 100), ("circular", "never end", 2), ("malformed", "malformed", 1)],
)
async def test_a_list_without_end_or_shape_is_refused(mode: str, words: str, requests: int) -> None:
    async with session_with("-m", f"{FIXTURES}.lists", mode) as (session, _):
        with pytest.raises(ListingFailed, match=words):
            await session.list_all("tools/list", "tools", timeout=timedelta(seconds=20))
        assert session.traffic.requests == requests
