"""Changed lists are heard of in either era, and the ear does no harm."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from domain.model.servers import Era
from domain.ports.mcp import McpSession
from tests.mcp.remote.peers import Exchange, HttpPeer, dial, greet, http_peer
from tests.mcp.sessions import LONG, opening

pytestmark = pytest.mark.anyio
ERAS = pytest.mark.parametrize("era", list(Era))
TOOLS: dict[str, Any] = {"tools": {"listChanged": True}}
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
CHANGED = "notifications/tools/list_changed"


class Listening:
    """A session whose ear is open, and the stream it hears."""

    def __init__(self, peer: HttpPeer, era: Era) -> None:
        self.peer = peer
        self.era = era
        self.heard: asyncio.Queue[str] = asyncio.Queue()
        self.session: McpSession

    async def next(self) -> str:
        return await asyncio.wait_for(self.heard.get(), 5)

    async def opened(self) -> Exchange:
        """Take and open the next stream that the client asks for."""
        stream = await self.asked()
        stream.stream()
        if self.era is Era.MODERN:
            self.say(stream, "notifications/subscriptions/acknowledged")
        return stream

    async def asked(self) -> Exchange:
        method = "subscriptions/listen" if self.era is Era.MODERN else "GET"
        return await self.peer.heard(method)

    def say(self, stream: Exchange, method: str) -> None:
        if self.era is Era.MODERN:
            stream.notify(method, _meta={SUBSCRIPTION: stream.message["id"]})
        else:
            stream.notify(method)


@asynccontextmanager
async def dialling(era: Era) -> AsyncIterator[tuple[Listening, asyncio.Task[McpSession]]]:
    """Past the handshake, before the ear is open."""
    async with http_peer() as peer:
        listening = Listening(peer, era)
        task = asyncio.create_task(dial(peer.url, opening(era), listening.heard.put_nowait))
        await greet(peer, era, **TOOLS)
        yield listening, task
        session = await asyncio.wait_for(task, 5)
        await session.close()


@ERAS
async def test_changes_are_heard_of_from_the_dialling_on(era: Era) -> None:
    async with dialling(era) as (listening, dialled):
        asked = await listening.asked()
        assert not dialled.done()
        asked.stream()
        if era is Era.MODERN:
            assert asked.headers["mcp-method"] == "subscriptions/listen"
            assert asked.message["params"]["notifications"] == {"toolsListChanged": True}
            listening.say(asked, "notifications/subscriptions/acknowledged")
        else:
            assert asked.headers["accept"] == "text/event-stream"
        await dialled
        assert listening.heard.empty()
        listening.say(asked, "notifications/prompts/list_changed" if era is Era.LEGACY else "x")
        listening.say(asked, CHANGED)
        assert await listening.next() == "tools"


async def test_a_modern_notice_counts_only_on_its_own_stream() -> None:
    async with dialling(Era.MODERN) as (listening, dialled):
        stream = await listening.opened()
        session = await dialled
        stream.notify(CHANGED, _meta={SUBSCRIPTION: 999})
        stream.notify(CHANGED)
        listening.say(stream, CHANGED)
        assert await listening.next() == "tools"
        assert listening.heard.empty()
        assert session.traffic.in_flight == 0


@ERAS
@pytest.mark.parametrize("end", [Exchange.cut, Exchange.end])
async def test_a_stream_that_ends_is_opened_again_and_what_was_missed_is_told(
    era: Era, end: Any
) -> None:
    async with dialling(era) as (listening, dialled):
        stream = await listening.opened()
        session = await dialled
        end(stream)
        await listening.opened()
        assert await listening.next() == "tools"
        asking = asyncio.create_task(session.request("ping", {}, timeout=LONG))
        (await listening.peer.heard("ping")).answer()
        await asking


async def test_a_legacy_stream_goes_on_where_it_ended() -> None:
    async with dialling(Era.LEGACY) as (listening, dialled):
        stream = await listening.opened()
        await dialled
        stream.event({"jsonrpc": "2.0", "method": "x"}, prefix="id: 12\nretry: 100\n")
        stream.end()
        assert (await listening.opened()).headers["last-event-id"] == "12"


@ERAS
@pytest.mark.parametrize("status", [400, 401, 404, 405])
async def test_a_server_without_such_a_stream_is_served_all_the_same(era: Era, status: int) -> None:
    async with dialling(era) as (listening, dialled):
        (await listening.asked()).reply(status)
        session = await dialled
        asking = asyncio.create_task(session.request("ping", {}, timeout=LONG))
        (await listening.peer.heard("ping")).answer()
        await asking
        assert listening.peer.heard_nothing_more


async def test_a_stream_that_sends_nothing_does_not_hold_up_the_dialling() -> None:
    async with dialling(Era.LEGACY) as (listening, dialled):
        stream = await listening.asked()
        await asyncio.wait_for(dialled, 5)
        stream.stream()
        listening.say(stream, CHANGED)
        assert await listening.next() == "tools"


@ERAS
async def test_a_server_that_is_gone_is_noticed_without_a_call(era: Era) -> None:
    async with dialling(era) as (listening, dialled):
        await listening.opened()
        session = await dialled
        await listening.peer.stop()
        reason = await asyncio.wait_for(session.wait_closed(), 5)
        assert "cannot be reached" in reason


async def test_a_forgotten_session_is_noticed_without_a_call() -> None:
    async with dialling(Era.LEGACY) as (listening, dialled):
        stream = await listening.opened()
        session = await dialled
        stream.end()
        (await listening.asked()).reply(404)
        assert "404" in await asyncio.wait_for(session.wait_closed(), 5)


async def test_a_legacy_ping_and_progress_on_that_stream_are_taken() -> None:
    async with dialling(Era.LEGACY) as (listening, dialled):
        stream = await listening.opened()
        session = await dialled
        stream.event({"jsonrpc": "2.0", "id": 1, "method": "ping"})
        pong = await listening.peer.heard_answer()
        assert pong.message["result"] == {}
        pong.reply(202)
        reports: asyncio.Queue[Any] = asyncio.Queue()
        asking = asyncio.create_task(
            session.request("tools/call", {}, timeout=LONG, progress=reports.put_nowait)
        )
        call = await listening.peer.heard("tools/call")
        token = call.message["params"]["_meta"]["progressToken"]
        stream.notify("notifications/progress", progressToken=token, progress=1)
        assert (await asyncio.wait_for(reports.get(), 5)).progress == 1
        call.answer()
        await asking


async def test_a_tool_that_wants_other_headers_is_listed_again() -> None:
    async with dialling(Era.MODERN) as (listening, dialled):
        await listening.opened()
        session = await dialled
        params = {"name": "echo", "arguments": {}}
        asking = asyncio.create_task(session.request("tools/call", params, timeout=LONG))
        (await listening.peer.heard("tools/call")).refuse(400, -32020)
        assert await listening.next() == "tools"
        assert (await asyncio.wait({asking}))[0].pop().exception() is not None


@ERAS
async def test_a_flood_of_notices_leaves_the_loop_to_others(era: Era) -> None:
    async with dialling(era) as (listening, dialled):
        stream = await listening.opened()
        session = await dialled
        flood = b"data: x\n\n" * 7000 + b"\n" * 1000
        for _ in range(3):
            stream.send(b"%x\r\n%b\r\n" % (len(flood), flood))
        asking = asyncio.create_task(session.request("ping", {}, timeout=LONG))
        ping = await listening.peer.heard("ping")
        ping.answer()
        await asyncio.wait_for(asking, 1)
        listening.say(stream, CHANGED)
        assert await listening.next() == "tools"
        assert session.traffic.noise_lines == 21_000
