"""Remote servers of either era are opened, and the others refused with a clear reason."""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta

import pytest

from domain.model.servers import Era, Remote
from domain.ports.mcp import HandshakeFailed
from tests.mcp.remote.peers import (
    CONNECTOR,
    SECRET,
    Exchange,
    HttpPeer,
    dial,
    greet,
    http_peer,
    recipe,
)
from tests.mcp.sessions import LONG, nothing, opening

pytestmark = pytest.mark.anyio
SOON = timedelta(seconds=0.2)


async def test_the_probe_says_what_a_modern_request_must() -> None:
    async with http_peer() as peer:
        dialing = asyncio.create_task(dial(peer.url))
        probe = await peer.heard("server/discover")
        meta = probe.message["params"]["_meta"]
        assert meta["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
        assert meta["io.modelcontextprotocol/clientInfo"]["name"] == "tester"
        assert probe.headers["mcp-protocol-version"] == "2026-07-28"
        assert probe.headers["mcp-method"] == "server/discover"
        assert probe.headers["accept"] == "application/json, text/event-stream"
        assert probe.headers["content-type"] == "application/json"
        assert probe.headers["authorization"] == SECRET
        probe.answer(supportedVersions=["2026-07-28"], capabilities={"tools": {}})
        session = await dialing
        assert (session.peer.era, session.peer.protocol_version) == (Era.MODERN, "2026-07-28")
        assert session.peer.capabilities == {"tools": {}}
        await session.close()
        assert peer.heard_nothing_more


@pytest.mark.parametrize("status", [400, 404, 405, 500])
@pytest.mark.parametrize("body", [b"", b"<html>Not here</html>", b'{"error": "no"}'])
async def test_a_server_that_does_not_know_the_probe_is_legacy(status: int, body: bytes) -> None:
    async with http_peer() as peer:
        dialing = asyncio.create_task(dial(peer.url))
        (await peer.heard("server/discover")).reply(status, body)
        initialize = await peer.heard("initialize")
        assert "mcp-protocol-version" not in initialize.headers
        assert initialize.message["params"]["protocolVersion"] == "2025-11-25"
        initialize.stream()
        initialize.event_answer(protocolVersion="2025-06-18", capabilities={})
        initialize.end()
        told = await peer.heard("notifications/initialized")
        assert told.headers["mcp-protocol-version"] == "2025-06-18"
        assert "mcp-session-id" not in told.headers
        told.reply(202)
        session = await dialing
        assert session.peer.era is Era.LEGACY
        await session.close()
        assert peer.heard_nothing_more


async def test_a_modern_error_beside_a_status_is_no_legacy_server() -> None:
    async with http_peer() as peer:
        dialing = asyncio.create_task(dial(peer.url))
        probe = await peer.heard("server/discover")
        probe.refuse(400, -32022, data={"supported": ["2031-01-01"]})
        with pytest.raises(HandshakeFailed, match="2031-01-01"):
            await dialing


async def test_a_server_that_says_nothing_to_the_probe_is_asked_the_other_way() -> None:
    async with http_peer() as peer:
        dialing = asyncio.create_task(dial(peer.url, opening(probe=SOON)))
        probe = await peer.heard("server/discover")
        await greet(peer, Era.LEGACY)
        session = await dialing
        assert session.peer.era is Era.LEGACY
        await asyncio.wait_for(probe.gone.wait(), 5)
        await session.close()


async def test_a_late_answer_to_the_probe_still_counts() -> None:
    async with http_peer() as peer:
        dialing = asyncio.create_task(dial(peer.url, opening(probe=SOON)))
        probe = await peer.heard("server/discover")
        initialize = await peer.heard("initialize")
        probe.answer(supportedVersions=["2026-07-28"])
        session = await dialing
        assert session.peer.era is Era.MODERN
        await asyncio.wait_for(initialize.gone.wait(), 5)
        await session.close()


async def test_a_server_that_says_nothing_at_all_fails_in_time() -> None:
    async with http_peer() as peer:
        with pytest.raises(HandshakeFailed, match=r"within 0\.2 s"):
            await dial(peer.url, opening(probe=LONG, start=SOON))


@pytest.mark.parametrize(
    ("status", "headers", "said"),
    [
        (401, {}, "HTTP 401"),
        (403, {}, "HTTP 403"),
        (307, {"Location": "http://127.0.0.1:9/elsewhere"}, "HTTP 307, a redirection"),
        (302, {"Location": "http://h:x/"}, "broke the connection"),
        (429, {"Retry-After": "7"}, "HTTP 429"),
    ],
)
async def test_a_refusal_is_final_and_its_status_is_named(
    status: int, headers: dict[str, str], said: str
) -> None:
    async with http_peer() as peer:
        dialing = asyncio.create_task(dial(peer.url))
        (await peer.heard("server/discover")).reply(status, SECRET.encode(), headers)
        if status == 302:
            (await peer.heard("initialize")).reply(status, headers=headers)
        with pytest.raises(HandshakeFailed, match=said) as failed:
            await dialing
        assert "secret" not in str(failed.value)
        expected = timedelta(seconds=7) if status == 429 else None
        assert failed.value.retry_after == expected
        assert peer.heard_nothing_more


BROKEN: dict[str, tuple[Callable[[Exchange], None], str]] = {
    "html": (lambda it: it.reply(200, b"<html>", {"Content-Type": "text/html"}), "not MCP"),
    "gzip": (lambda it: it.reply(200, b"x", {"Content-Encoding": "gzip"}), "not MCP"),
    "garbage": (lambda it: it.reply(200, b"no json"), "not MCP"),
    "empty": (lambda it: it.reply(202, headers={"Content-Type": ""}), "held no answer"),
    "500": (lambda it: it.reply(500), "HTTP 500"),
    "405": (lambda it: it.reply(405), r"HTTP 405; the transport HTTP\+SSE"),
    "cut": (Exchange.cut, "broke the connection"),
    "version": (lambda it: it.answer(protocolVersion="1999-01-01"), "1999-01-01"),
    "refused": (lambda it: it.refuse(200, -32600), "-32600"),
}


@pytest.mark.parametrize(("answer", "said"), BROKEN.values(), ids=BROKEN)
async def test_a_broken_handshake_fails_with_its_reason(
    answer: Callable[[Exchange], None], said: str
) -> None:
    async with http_peer() as peer:
        dialing = asyncio.create_task(dial(peer.url))
        (await peer.heard("server/discover")).reply(404)
        answer(await peer.heard("initialize"))
        with pytest.raises(HandshakeFailed, match=said):
            await dialing


async def test_a_session_id_that_no_header_can_hold_is_refused() -> None:
    async with http_peer() as peer:
        dialing = asyncio.create_task(dial(peer.url, opening(Era.LEGACY)))
        initialize = await peer.heard("initialize")
        headers = {"Mcp-Session-Id": "two words"}
        initialize.answer(headers=headers, protocolVersion="2025-11-25")
        with pytest.raises(HandshakeFailed, match="session id"):
            await dialing


async def test_a_server_that_is_not_there_is_unreachable() -> None:
    peer = HttpPeer()
    await peer.start()
    url = peer.url
    await peer.stop()
    with pytest.raises(HandshakeFailed, match="cannot be reached"):
        await dial(url)


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("ftp://host/", {}),
        ("not a url", {}),
        ("http://", {}),
        ("http://h:x/", {}),
        ("http://127.0.0.1:9/", {"X-Key": "secret\r\nX-More: 1"}),
        ("http://127.0.0.1:9/", {"X Key": "secret"}),
        ("http://127.0.0.1:9/", {"X-Key": "secreté"}),
        ("http://127.0.0.1:9/", {"Content-Length": "5"}),
    ],
)
async def test_an_entry_that_cannot_be_used_is_refused(url: str, headers: dict[str, str]) -> None:
    with pytest.raises(HandshakeFailed) as failed:
        await CONNECTOR.dial(Remote(url=url, headers=headers), opening(), nothing)
    assert "secret" not in str(failed.value)


async def test_secrets_of_the_address_reach_the_server_and_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with http_peer() as peer:
        url = peer.url.replace("//", "//user:secret@") + "/secret?key=secret"
        dialing = asyncio.create_task(dial(url))
        probe = await peer.heard("server/discover")
        assert probe.target == "/mcp/secret?key=secret"
        probe.reply(500)
        (await peer.heard("initialize")).reply(500)
        with pytest.raises(HandshakeFailed) as failed:
            await dialing
    assert "secret" not in str(failed.value)
    assert "127.0.0.1" in caplog.text
    assert "secret" not in caplog.text


async def test_a_server_on_this_machine_is_reached_without_the_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with http_peer() as peer:
        dialing = asyncio.create_task(dial(peer.url))
        await greet(peer, Era.MODERN)
        await (await dialing).close()


async def test_a_cancelled_dialling_leaves_nothing_open() -> None:
    async with http_peer() as peer:
        before = asyncio.all_tasks()
        dialing = asyncio.create_task(CONNECTOR.dial(recipe(peer.url), opening(), nothing))
        probe = await peer.heard()
        dialing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dialing
        await asyncio.wait_for(probe.gone.wait(), 5)
        assert asyncio.all_tasks() == before
        assert peer.heard_nothing_more
