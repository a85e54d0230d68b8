"""A remote server that fails ends its session, or one request, with a clear reason."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from adapters.mcp.framing import MAX_LINE_BYTES
from domain.model.servers import Era
from domain.model.tools import PeerRefused
from domain.ports.mcp import SessionClosed
from tests.mcp.remote.peers import SECRET, Exchange, ask, session_by_hand
from tests.mcp.sessions import LONG

pytestmark = pytest.mark.anyio
ERAS = pytest.mark.parametrize("era", list(Era))
SESSION = "session-1"


REFUSALS: dict[str, tuple[Callable[[Exchange], None], int, str]] = {
    "200": (lambda it: it.refuse(200, -32602), -32602, "no"),
    "400": (lambda it: it.refuse(400, -32602), -32602, "no"),
    "404": (lambda it: it.refuse(404, -32601), -32601, "no"),
    "500": (lambda it: it.refuse(500, -32603), -32603, "no"),
    "no id": (lambda it: it.reply(400, b'{"jsonrpc":"2.0","error":{"code":-1}}'), -1, "no reason"),
    "413": (lambda it: it.reply(413, b"<html>"), -32603, "HTTP 413"),
    "403": (lambda it: it.reply(403, SECRET.encode()), -32603, "HTTP 403"),
    "echo": (lambda it: it.refuse(400, -5, message=f"bad {SECRET}"), -5, r"bad \*\*\*"),
    "echo of a part": (lambda it: it.refuse(400, -5, message="very-secret-token?"), -5, r"\*\?"),
}


@pytest.mark.parametrize(("refuse", "code", "said"), REFUSALS.values(), ids=REFUSALS)
async def test_a_refusal_concerns_its_own_request(
    refuse: Callable[[Exchange], None], code: int, said: str
) -> None:
    async with session_by_hand() as (session, peer):
        other, asking = ask(session), ask(session)
        first = await peer.heard()
        refuse(await peer.heard())
        with pytest.raises(PeerRefused, match=said) as refused:
            await asking
        assert refused.value.code == code
        assert refused.value.retry_after is None
        first.answer()
        await other


@pytest.mark.parametrize("status", [429, 503])
async def test_a_server_that_wants_a_pause_says_how_long(status: int) -> None:
    async with session_by_hand() as (session, peer):
        asking = ask(session)
        (await peer.heard()).reply(status, headers={"Retry-After": "3"})
        with pytest.raises(PeerRefused, match=f"HTTP {status}") as refused:
            await asking
        assert refused.value.retry_after == timedelta(seconds=3)
        asking = ask(session)
        (await peer.heard()).answer()
        await asking


DOUBTS: dict[str, tuple[Callable[[Exchange], None], str]] = {
    "500": (lambda it: it.reply(500), "HTTP 500"),
    "503": (lambda it: it.reply(503), "HTTP 503"),
    "cut": (Exchange.cut, "broke the connection"),
}


@pytest.mark.parametrize(("answer", "said"), DOUBTS.values(), ids=DOUBTS)
async def test_a_server_that_fails_in_a_call_loses_that_call_alone(
    answer: Callable[[Exchange], None], said: str
) -> None:
    async with session_by_hand() as (session, peer):
        other, asking = ask(session), ask(session)
        first = await peer.heard()
        answer(await peer.heard())
        with pytest.raises(SessionClosed, match=said) as lost:
            await asking
        assert lost.value.sent
        first.answer()
        await other


@pytest.mark.parametrize(("answer", "said"), DOUBTS.values(), ids=DOUBTS)
@pytest.mark.parametrize("sign", ["ping", "server/discover"])
async def test_a_server_that_fails_in_a_sign_of_life_ends_the_session(
    answer: Callable[[Exchange], None], said: str, sign: str
) -> None:
    async with session_by_hand() as (session, peer):
        calling = ask(session)
        await peer.heard()
        asking = asyncio.create_task(session.request(sign, {}, timeout=LONG))
        answer(await peer.heard(sign))
        for request in (asking, calling):
            with pytest.raises(SessionClosed, match=said):
                await request
        assert said in await session.wait_closed()


FATAL: dict[str, tuple[Callable[[Exchange], None], str]] = {
    "401": (lambda it: it.reply(401, SECRET.encode()), "HTTP 401"),
    "404": (lambda it: it.reply(404), "HTTP 404"),
    "redirect": (lambda it: it.reply(308, headers={"Location": "/secret"}), "HTTP 308"),
    "html": (lambda it: it.reply(200, b"<html>", {"Content-Type": "text/html"}), "not MCP"),
    "garbage": (lambda it: it.reply(200, b"{"), "not MCP"),
}


@pytest.mark.parametrize(("answer", "said"), FATAL.values(), ids=FATAL)
async def test_a_server_that_fails_ends_the_session_and_all_its_calls(
    answer: Callable[[Exchange], None], said: str
) -> None:
    async with session_by_hand() as (session, peer):
        other, asking = ask(session), ask(session)
        waiting = asyncio.create_task(session.wait_closed())
        first = await peer.heard()
        answer(await peer.heard())
        for call in (asking, other):
            with pytest.raises(SessionClosed, match=said) as closed:
                await call
            assert closed.value.sent
            assert "secret" not in str(closed.value)
        assert said in await waiting
        await asyncio.wait_for(first.gone.wait(), 5)
        with pytest.raises(SessionClosed) as closed:
            await ask(session)
        assert not closed.value.sent


async def test_a_server_that_is_gone_ends_the_session_and_knows_of_nothing() -> None:
    async with session_by_hand() as (session, peer):
        await peer.stop()
        with pytest.raises(SessionClosed, match="cannot be reached") as closed:
            await ask(session)
        assert not closed.value.sent
        assert "cannot be reached" in await session.wait_closed()


def bad_body(exchange: Exchange) -> None:
    exchange.send(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
    )
    exchange.cut()


def bad_stream(exchange: Exchange) -> None:
    exchange.stream()
    exchange.notify("notifications/message", data="half way")
    exchange.cut()


def ended_stream(exchange: Exchange) -> None:
    exchange.stream()
    exchange.end()


@ERAS
@pytest.mark.parametrize("answer", [bad_body, bad_stream, ended_stream])
async def test_an_answer_that_breaks_off_is_lost_alone(
    era: Era, answer: Callable[[Exchange], None]
) -> None:
    async with session_by_hand(era) as (session, peer):
        other, asking = ask(session), ask(session)
        first = await peer.heard()
        answer(await peer.heard())
        with pytest.raises(SessionClosed, match="broke") as lost:
            await asking
        assert lost.value.sent
        first.answer()
        await other


async def test_an_answer_to_another_request_is_none() -> None:
    async with session_by_hand() as (session, peer):
        asking = ask(session)
        (await peer.heard()).reply(200, b'{"jsonrpc":"2.0","id":999,"result":{}}')
        with pytest.raises(SessionClosed, match="held no answer"):
            await asking
        assert session.traffic.noise_lines == 1


async def test_an_answer_without_end_is_refused_and_its_connection_closed() -> None:
    async with session_by_hand() as (session, peer):
        for streamed in (False, True):
            asking = ask(session)
            call = await peer.heard()
            if streamed:
                call.stream()
                call.send(b"%x\r\ndata: " % (MAX_LINE_BYTES * 2))
            else:
                call.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
            call.send(b"x" * (MAX_LINE_BYTES + 1))
            with pytest.raises(PeerRefused, match="too large"):
                await asking
            await asyncio.wait_for(call.gone.wait(), 5)


async def test_a_forgotten_session_is_over() -> None:
    async with session_by_hand(Era.LEGACY, SESSION) as (session, peer):
        asking = ask(session)
        body = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Session not found"}}'
        (await peer.heard()).reply(404, body)
        with pytest.raises(SessionClosed, match="forgotten the session"):
            await asking
        assert "forgotten" in await session.wait_closed()
        await session.close()
        assert peer.heard_nothing_more
