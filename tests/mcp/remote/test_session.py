"""An open session with a remote server keeps the port's promises whatever the server does."""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from adapters.mcp.remote import endpoint
from domain.model.servers import Era
from domain.model.tasks import TaskProgress
from domain.model.tools import CallTimedOut
from domain.ports.mcp import SessionClosed
from tests.mcp.remote.peers import SECRET, ask, session_by_hand
from tests.mcp.sessions import LONG, SHORT

pytestmark = pytest.mark.anyio
ERAS = pytest.mark.parametrize("era", list(Era))
SESSION = "session-1"


@ERAS
async def test_a_call_carries_what_its_era_wants(era: Era) -> None:
    session_id = SESSION if era is Era.LEGACY else ""
    async with session_by_hand(era, session_id) as (session, peer):
        asking = ask(session)
        call = await peer.heard("tools/call")
        call.answer(content=[])
        assert json.loads(bytes(await asking)) == {"content": []}
        headers = call.headers
        assert headers["authorization"] == SECRET
        if era is Era.MODERN:
            assert headers["mcp-protocol-version"] == "2026-07-28"
            assert (headers["mcp-method"], headers["mcp-name"]) == ("tools/call", "echo")
            assert "mcp-session-id" not in headers
        else:
            assert headers["mcp-protocol-version"] == "2025-11-25"
            assert headers["mcp-session-id"] == SESSION
            assert "_meta" not in call.message["params"]
        assert peer.connections == 1


@ERAS
async def test_each_report_of_progress_begins_the_time_anew(era: Era) -> None:
    async with session_by_hand(era) as (session, peer):
        asking = ask(session, timeout=timedelta(seconds=1), longest=LONG)
        call = await peer.heard()
        token = call.message["params"]["_meta"]["progressToken"]
        call.stream()
        for number in range(4):
            await asyncio.sleep(0.4)
            call.notify("notifications/progress", progressToken=token, progress=number)
        call.event_answer(late=True)
        call.end()
        assert json.loads(bytes(await asking)) == {"late": True}


@ERAS
async def test_progress_comes_before_the_answer_and_only_forward(era: Era) -> None:
    reports: list[TaskProgress] = []
    async with session_by_hand(era) as (session, peer):
        asking = ask(session, progress=reports.append)
        call = await peer.heard()
        token = call.message["params"]["_meta"]["progressToken"]
        call.stream()
        for progress in (1, 2, 2, 1, 3):
            call.notify("notifications/progress", progressToken=token, progress=progress)
        call.notify("notifications/progress", progressToken=token + 7, progress=9)
        call.event({"jsonrpc": "2.0", "id": 999, "result": {}})
        call.event_answer(ok=True)
        call.notify("notifications/progress", progressToken=token, progress=4)
        call.event_answer(ok=False)
        call.end()
        assert json.loads(bytes(await asking)) == {"ok": True}
        assert [report.progress for report in reports] == [1, 2, 3]
        assert session.traffic.noise_lines == 1


async def test_a_stream_that_ends_with_its_answer_keeps_the_connection() -> None:
    async with session_by_hand() as (session, peer):
        for _ in range(3):
            asking = ask(session)
            call = await peer.heard()
            call.stream()
            call.event_answer()
            call.end()
            await asking
        assert peer.connections == 1


async def test_an_answer_does_not_wait_for_the_end_of_its_stream() -> None:
    async with session_by_hand() as (session, peer):
        asking = ask(session)
        call = await peer.heard()
        call.stream()
        call.event_answer()
        await asyncio.wait_for(asking, 5)
        await asyncio.wait_for(call.gone.wait(), 5)


async def test_what_a_sink_raises_is_its_callers() -> None:
    def sink(_: TaskProgress) -> None:
        raise LookupError("mine")

    async with session_by_hand() as (session, peer):
        asking = ask(session, progress=sink)
        call = await peer.heard()
        token = call.message["params"]["_meta"]["progressToken"]
        call.stream()
        call.notify("notifications/progress", progressToken=token, progress=1)
        with pytest.raises(LookupError, match="mine"):
            await asking
        await asyncio.wait_for(call.gone.wait(), 5)
        asking = ask(session)
        (await peer.heard()).answer()
        await asking


async def by_timeout(asking: asyncio.Task[Any]) -> None:
    with pytest.raises(CallTimedOut):
        await asking


async def by_cancelling(asking: asyncio.Task[Any]) -> None:
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


GIVEN_UP = pytest.mark.parametrize(
    ("give_up", "limit"), [(by_timeout, SHORT), (by_cancelling, LONG)], ids=["late", "cancelled"]
)


@GIVEN_UP
async def test_a_modern_call_is_given_up_by_its_connection_alone(
    give_up: Callable[[asyncio.Task[Any]], Any], limit: timedelta
) -> None:
    async with session_by_hand() as (session, peer):
        asking = ask(session, timeout=limit)
        call = await peer.heard()
        call.stream()
        await give_up(asking)
        await asyncio.wait_for(call.gone.wait(), 5)
        asking = ask(session)
        (await peer.heard("tools/call")).answer()
        await asking
        assert session.traffic.in_flight == 0
        assert peer.heard_nothing_more


@GIVEN_UP
async def test_a_legacy_call_is_given_up_with_one_word(
    give_up: Callable[[asyncio.Task[Any]], Any], limit: timedelta
) -> None:
    async with session_by_hand(Era.LEGACY) as (session, peer):
        asking = ask(session, timeout=limit)
        call = await peer.heard()
        await give_up(asking)
        told = await peer.heard("notifications/cancelled")
        assert told.message["params"]["requestId"] == call.message["id"]
        told.reply(202)
        asking = ask(session)
        (await peer.heard("tools/call")).answer()
        await asking
        assert peer.heard_nothing_more


async def test_a_legacy_session_is_ended_at_the_server_once() -> None:
    async with session_by_hand(Era.LEGACY, SESSION) as (session, peer):
        asking = ask(session)
        await peer.heard("tools/call")
        closing = asyncio.gather(session.close(), session.close())
        with pytest.raises(SessionClosed, match="closed on this side"):
            await asking
        farewell = await peer.heard("DELETE")
        assert farewell.headers["mcp-session-id"] == SESSION
        assert farewell.headers["authorization"] == SECRET
        farewell.reply(405)
        await closing
        assert peer.heard_nothing_more


async def test_closing_does_not_wait_for_a_server_that_hangs() -> None:
    async with session_by_hand(Era.LEGACY, SESSION) as (session, peer):
        before = asyncio.get_running_loop().time()
        await session.close()
        assert asyncio.get_running_loop().time() - before < 2
        farewell = await peer.heard("DELETE")
        await asyncio.wait_for(farewell.gone.wait(), 5)


async def test_a_legacy_servers_requests_are_answered_by_post() -> None:
    async with session_by_hand(Era.LEGACY) as (session, peer):
        asking = ask(session)
        call = await peer.heard()
        call.stream()
        call.event({"jsonrpc": "2.0", "id": "p", "method": "ping"})
        pong = await peer.heard_answer()
        assert pong.message == {"jsonrpc": "2.0", "id": "p", "result": {}}
        pong.reply(202)
        call.event({"jsonrpc": "2.0", "id": 5, "method": "elicitation/create", "params": {}})
        refusal = await peer.heard_answer()
        assert refusal.message["error"]["code"] == -32601
        refusal.reply(202)
        call.event_answer()
        await asking


async def test_a_modern_servers_requests_are_noise() -> None:
    async with session_by_hand() as (session, peer):
        asking = ask(session)
        call = await peer.heard()
        call.stream()
        call.event({"jsonrpc": "2.0", "id": "p", "method": "ping"})
        call.event_answer()
        await asking
        assert session.traffic.noise_lines == 1
        assert peer.heard_nothing_more


async def test_a_legacy_stream_is_taken_up_where_it_broke() -> None:
    async with session_by_hand(Era.LEGACY, SESSION) as (session, peer):
        asking = ask(session)
        call = await peer.heard()
        call.stream()
        call.event({}, prefix="id: e1\nretry: 100\n")
        call.end()
        again = await peer.heard("GET")
        assert again.headers["last-event-id"] == "e1"
        assert again.headers["mcp-session-id"] == SESSION
        again.stream()
        again.event({"jsonrpc": "2.0", "id": call.message["id"], "result": {"late": True}})
        again.end()
        assert json.loads(bytes(await asking)) == {"late": True}


async def test_a_legacy_stream_that_cannot_be_taken_up_is_lost() -> None:
    async with session_by_hand(Era.LEGACY) as (session, peer):
        asking = ask(session)
        call = await peer.heard()
        call.stream()
        call.event({}, prefix="id: e1\nretry: 100\n")
        call.end()
        (await peer.heard("GET")).reply(405)
        with pytest.raises(SessionClosed, match="broke off"):
            await asking
        asking = ask(session)
        (await peer.heard()).answer()
        await asking


async def test_all_pages_are_followed_and_annotations_repeated(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with session_by_hand() as (session, peer):
        listing = asyncio.create_task(
            session.list_all("tools/list", "tools", timeout=timedelta(seconds=20))
        )
        region = {"type": "string", "x-mcp-header": "Region"}
        echo = {"name": "echo", "inputSchema": {"properties": {"region": region}}}
        (await peer.heard("tools/list")).answer(tools=[echo], nextCursor="")
        page = await peer.heard("tools/list")
        assert not page.message["params"]["cursor"]
        bad = {"name": "bad", "inputSchema": {"items": region}}
        page.answer(tools=[bad])
        assert await listing == (echo,)
        assert "bad" in caplog.text
        params = {"name": "echo", "arguments": {"region": "here"}}
        asking = asyncio.create_task(session.request("tools/call", params, timeout=LONG))
        call = await peer.heard()
        assert call.headers["mcp-param-region"] == "here"
        call.answer()
        await asking


async def test_more_calls_than_connections_wait_for_their_turn() -> None:
    async with session_by_hand() as (session, peer):
        number = endpoint.MAX_CONNECTIONS + 3
        asking = [ask(session) for _ in range(number)]
        under_way = [await peer.heard() for _ in range(endpoint.MAX_CONNECTIONS)]
        assert peer.heard_nothing_more
        assert session.traffic.in_flight == number
        for call in under_way:
            call.answer()
        for _ in range(3):
            (await peer.heard()).answer()
        await asyncio.gather(*asking)
        assert session.traffic.requests == number


@ERAS
async def test_a_closed_session_leaves_no_task(era: Era) -> None:
    before = asyncio.all_tasks()
    async with session_by_hand(era) as (session, peer):
        asking = ask(session)
        await peer.heard()
        await session.close()
        with pytest.raises(SessionClosed):
            await asking
        await session.close()
        assert await session.wait_closed() == "closed on this side"
    assert asyncio.all_tasks() == before
