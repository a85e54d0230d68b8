"""Every kind of server there is in the wild is opened, in the right era or with a clear failure."""

import asyncio
from datetime import timedelta

import pytest

from domain.model.servers import Era
from domain.ports.mcp import EndedOnProbe, HandshakeFailed
from tests.mcp.pipes import MemoryStream, started
from tests.mcp.sessions import (
    FIXTURES,
    LONG,
    Peer,
    call,
    connect,
    opening,
    session_by_hand,
    session_with,
)

pytestmark = pytest.mark.anyio
OPENINGS = f"{FIXTURES}.openings"
SOON = timedelta(seconds=0.3)


@pytest.mark.parametrize(
    ("mode", "era"),
    [
        ("modern", Era.MODERN),
        ("dual", Era.MODERN),
        ("capability-wanted", Era.MODERN),
        ("noisy", Era.MODERN),
        ("legacy", Era.LEGACY),
        ("legacy-invalid-params", Era.LEGACY),
        ("legacy-list", Era.LEGACY),
        ("null-id", Era.LEGACY),
        ("discovers-legacy", Era.LEGACY),
    ],
)
async def test_a_server_is_opened_in_its_era_without_waiting(mode: str, era: Era) -> None:
    async with session_with("-m", OPENINGS, mode) as (session, _):
        assert session.peer.era is era
        assert await call(session, text="hello")


async def test_what_a_modern_server_says_of_itself_is_known() -> None:
    async with session_with("-m", OPENINGS, "dual") as (session, _):
        peer = session.peer
        assert (peer.protocol_version, peer.name, peer.version) == ("2026-07-28", "fixture", "1")
        assert peer.instructions == "Be gentle."
        assert peer.capabilities == {"tools": {}}


async def test_noise_around_messages_is_counted_and_skipped() -> None:
    async with session_with("-m", OPENINGS, "noisy") as (session, _):
        await call(session, text="hello")
        # The banner, and four lines before each of the two answers.
        assert session.traffic.noise_lines == 9


async def test_a_server_that_exits_on_the_probe_is_opened_after_a_new_start() -> None:
    async with started("-m", OPENINGS, "exits-on-probe") as stream:
        with pytest.raises(EndedOnProbe):
            await connect(stream)
    how = opening(Era.LEGACY)
    async with session_with("-m", OPENINGS, "exits-on-probe", how=how) as (session, _):
        assert session.peer.era is Era.LEGACY
        assert await call(session, text="hello")


async def test_a_server_silent_on_the_probe_is_legacy_after_the_probes_time() -> None:
    how = opening(probe=SOON)
    async with session_with("-m", OPENINGS, "silent-on-probe", how=how) as (session, _):
        assert session.peer.era is Era.LEGACY
        assert await call(session, text="hello")


@pytest.mark.parametrize(
    ("mode", "era"), [("modern", Era.MODERN), ("legacy", Era.LEGACY), ("locked", Era.MODERN)]
)
async def test_a_server_that_boots_longer_than_the_probe_is_opened(mode: str, era: Era) -> None:
    how = opening(probe=SOON)
    async with session_with("-m", OPENINGS, mode, "0.8", how=how) as (session, stream):
        assert session.peer.era is era
        assert b'"initialize"' in stream.written
        assert await call(session, text="hello")
        assert session.traffic.noise_lines == 0


async def test_versions_without_overlap_fail_and_are_shown() -> None:
    async with started("-m", OPENINGS, "disjoint") as stream:
        with pytest.raises(HandshakeFailed, match="2031-01-01"):
            await connect(stream)


async def test_a_server_that_says_nothing_fails_in_time() -> None:
    how = opening(probe=SOON, start=timedelta(seconds=0.8))
    async with started("-m", OPENINGS, "mute") as stream:
        with pytest.raises(HandshakeFailed, match=r"within 0\.8 s"):
            await connect(stream, how)


async def test_a_known_legacy_server_that_exits_fails() -> None:
    async with started("-m", OPENINGS, "exits") as stream:
        with pytest.raises(HandshakeFailed, match="ended"):
            await connect(stream, opening(Era.LEGACY))


async def test_a_broken_pipe_during_the_probe_is_an_end() -> None:
    stream = MemoryStream()
    stream.broken = True
    with pytest.raises(EndedOnProbe):
        await connect(stream)


async def test_a_cancelled_opening_says_no_more_and_leaves_no_task() -> None:
    peer = Peer(MemoryStream())
    before = asyncio.all_tasks()
    connecting = asyncio.create_task(connect(peer.stream))
    assert (await peer.heard())["method"] == "server/discover"
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    assert peer.heard_nothing_more
    assert asyncio.all_tasks() == before


async def test_a_ping_before_the_era_is_known_is_answered() -> None:
    peer = Peer(MemoryStream())
    connecting = asyncio.create_task(connect(peer.stream))
    probe = await peer.heard()
    peer.say({"jsonrpc": "2.0", "id": "first", "method": "ping"})
    assert await peer.heard() == {"jsonrpc": "2.0", "id": "first", "result": {}}
    peer.answer(probe, supportedVersions=["2026-07-28"])
    session = await asyncio.wait_for(connecting, 5)
    await session.close()


async def test_a_legacy_opening_declares_nothing_and_names_the_client() -> None:
    peer = Peer(MemoryStream())
    connecting = asyncio.create_task(connect(peer.stream, opening(Era.LEGACY)))
    request = await peer.heard()
    assert request["params"] == {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "tester", "version": "1"},
    }
    peer.answer(request, protocolVersion="2024-11-05", capabilities={})
    session = await asyncio.wait_for(connecting, 5)
    assert session.peer.protocol_version == "2024-11-05"
    assert await peer.heard() == {"jsonrpc": "2.0", "method": "notifications/initialized"}
    await session.close()


async def test_messages_in_one_piece_with_the_opening_are_not_lost() -> None:
    heard: list[str] = []
    async with session_by_hand(Era.LEGACY, heard.append, tools={"listChanged": True}) as (
        session,
        peer,
    ):
        peer.notify("notifications/tools/list_changed")
        asking = asyncio.create_task(session.request("ping", {}, timeout=LONG))
        peer.answer(await peer.heard())
        assert bytes(await asking) == b"{}"
    assert heard == ["tools"]
