"""A session hears of changed lists, and hearing never harms it."""

import asyncio

import pytest

from adapters.mcp.session import StreamSession
from domain.model.servers import Era
from tests.mcp.sessions import FIXTURES, call, opening, session_by_hand, session_with

pytestmark = pytest.mark.anyio
LISTS = f"{FIXTURES}.lists"


class Heard:
    """The lists that were said to have changed."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.enough = asyncio.Event()

    def __call__(self, name: str) -> None:
        self.names.append(name)
        self.enough.set()


@pytest.mark.parametrize(("mode", "era"), [("listen", Era.MODERN), ("legacy", Era.LEGACY)])
async def test_a_change_is_told_once_and_strangers_notices_are_not(mode: str, era: Era) -> None:
    heard = Heard()
    async with session_with("-m", LISTS, mode, changed=heard) as (session, _):
        assert session.peer.era is era
        await call(session)
        await asyncio.wait_for(heard.enough.wait(), 5)
        await call(session)
    # The server tells of its prompts too: unannounced in the one era, mistagged in the other.
    assert set(heard.names) == {"tools"}


async def test_only_what_the_peer_announces_is_listened_for() -> None:
    async with session_by_hand(
        tools={"listChanged": True}, prompts={"listChanged": False}, resources={}
    ) as (_, peer):
        request = await peer.heard()
        assert request["method"] == "subscriptions/listen"
        assert request["params"]["notifications"] == {"toolsListChanged": True}
        assert "io.modelcontextprotocol/protocolVersion" in request["params"]["_meta"]


async def test_nothing_is_listened_for_where_nothing_is_announced() -> None:
    async with session_by_hand(tools={}) as (session, peer):
        asking = asyncio.create_task(call(session))
        request = await peer.heard()
        assert request["method"] == "tools/call"
        peer.answer(request)
        await asking


async def test_a_refused_subscription_does_no_harm() -> None:
    async with session_with("-m", LISTS, "listen-refused") as (session, _):
        await call(session)
        assert session.traffic.noise_lines == 0


@pytest.mark.parametrize("graceful", [True, False])
async def test_an_ended_subscription_is_opened_again_and_all_lists_count_as_changed(
    *, graceful: bool
) -> None:
    heard = Heard()
    async with session_by_hand(
        changed=heard, tools={"listChanged": True}, prompts={"listChanged": True}
    ) as (session, peer):
        assert isinstance(session, StreamSession)
        session._changes._pause = 0.0
        first = await peer.heard()
        if graceful:
            peer.answer(first, resultType="complete")
        else:
            peer.notify("notifications/cancelled", requestId=first["id"])
        second = await peer.heard()
        assert second["method"] == "subscriptions/listen"
        assert second["id"] != first["id"]
        assert heard.names == []
        tag = {"io.modelcontextprotocol/subscriptionId": second["id"]}
        peer.notify("notifications/subscriptions/acknowledged", _meta=tag, notifications={})
        await asyncio.wait_for(heard.enough.wait(), 5)
        assert heard.names == ["tools", "prompts"]


async def test_a_listener_that_breaks_harms_no_call() -> None:
    def breaks(name: str) -> None:
        raise ZeroDivisionError

    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: reported.append(context.get("exception"))
    )
    how = opening(Era.LEGACY)
    async with session_with("-m", LISTS, "legacy", how=how, changed=breaks) as (session, _):
        await call(session)
        await call(session)
    assert reported
    assert all(isinstance(fault, ZeroDivisionError) for fault in reported)
