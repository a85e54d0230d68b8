"""The official SDK's server over Streamable HTTP as an independent peer, in all its modes."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from domain.model.servers import Era
from domain.model.tasks import TaskProgress
from domain.model.tools import CallTimedOut, PeerRefused
from domain.ports.mcp import Changed, McpSession
from tests.mcp.remote.peers import dial, sdk_server
from tests.mcp.sessions import LONG, call, nothing, opening

pytestmark = pytest.mark.anyio
ERAS = pytest.mark.parametrize("era", list(Era))


@pytest.fixture(scope="module", params=["stateful", "stateless", "json"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def url(mode: str) -> Iterator[str]:
    with sdk_server(mode) as address:
        yield address


@asynccontextmanager
async def session_at(
    url: str, era: Era | None, changed: Changed = nothing
) -> AsyncIterator[McpSession]:
    session = await dial(url, opening(era), changed)
    try:
        yield session
    finally:
        await session.close()


async def answered(session: McpSession, tool: str, expected: Any) -> None:
    """Ask until the tool says so."""
    async with asyncio.timeout(5):
        while (await call(session, tool))["structuredContent"]["result"] != expected:
            pass


@ERAS
async def test_a_server_of_the_sdk_is_opened_listed_and_called(url: str, era: Era) -> None:
    async with session_at(url, era) as session:
        assert (session.peer.era, session.peer.name) == (era, "sdk-fixture")
        assert (session.peer.version, session.peer.instructions) == ("7", "Ask away.")
        tools = await session.list_all("tools/list", "tools", timeout=timedelta(seconds=20))
        assert "echo" in [tool["name"] for tool in tools]
        result = await call(session, text="grüße")
        assert result["content"][0] == {"type": "text", "text": "grüße"}
        assert (await call(session, "fail"))["isError"]
        with pytest.raises(PeerRefused) as refused:
            await session.request("no/such", {}, timeout=LONG)
        assert refused.value.code == -32601
        assert session.traffic.noise_lines == 0


async def test_the_probe_finds_a_server_of_the_sdk_modern(url: str) -> None:
    async with session_at(url, None) as session:
        assert session.peer.era is Era.MODERN


async def test_an_argument_that_belongs_in_a_header_is_sent_there(url: str) -> None:
    async with session_at(url, Era.MODERN) as session:
        params = {"name": "placed", "arguments": {"region": " zürich"}}
        with pytest.raises(PeerRefused) as refused:
            await session.request("tools/call", params, timeout=LONG)
        assert refused.value.code == -32020
        await session.list_all("tools/list", "tools", timeout=timedelta(seconds=20))
        result = await call(session, "placed", region=" zürich")
        assert result["structuredContent"] == {"result": " zürich"}


@ERAS
async def test_a_server_of_the_sdk_reports_progress(url: str, mode: str, era: Era) -> None:
    reports: list[TaskProgress] = []
    params = {"name": "count", "arguments": {"steps": 3}}
    async with session_at(url, era) as session:
        answer = await session.request("tools/call", params, timeout=LONG, progress=reports.append)
    assert json.loads(bytes(answer))["structuredContent"] == {"result": 3}
    # One JSON object has no room for reports.
    told = [] if mode == "json" else [1, 2, 3]
    assert [report.progress for report in reports] == told


# With JSON answers it watches no connections; without sessions a legacy one cannot tell whose
# call is cancelled.
@pytest.mark.parametrize(
    ("mode", "era"),
    [("stateful", Era.MODERN), ("stateful", Era.LEGACY), ("stateless", Era.MODERN)],
    indirect=["mode"],
)
async def test_a_server_of_the_sdk_hears_that_a_call_is_given_up(url: str, era: Era) -> None:
    async with session_at(url, era) as session:
        before = (await call(session, "given_up"))["structuredContent"]["result"]
        params = {"name": "linger", "arguments": {}}
        with pytest.raises(CallTimedOut):
            await session.request("tools/call", params, timeout=timedelta(seconds=0.3))
        await answered(session, "given_up", before + 1)
        assert session.traffic.noise_lines == 0


async def test_a_server_of_the_sdk_tells_of_a_new_tool(url: str) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with session_at(url, Era.MODERN, heard.put_nowait) as session:
        await call(session, "grow")
        assert await asyncio.wait_for(heard.get(), 5) == "tools"
        tools = await session.list_all("tools/list", "tools", timeout=timedelta(seconds=20))
        assert "grown" in [tool["name"] for tool in tools]


@ERAS
async def test_many_calls_at_once_get_their_own_answers(url: str, era: Era) -> None:
    async with session_at(url, era) as session:
        texts = [str(number) for number in range(100)]
        results = await asyncio.gather(*(call(session, text=text) for text in texts))
        assert [result["content"][0]["text"] for result in results] == texts
        assert session.traffic.in_flight == 0


async def test_the_session_ends_with_its_server() -> None:
    with sdk_server("stateful") as url:
        session = await dial(url, opening(Era.MODERN))
    reason = await asyncio.wait_for(session.wait_closed(), 5)
    assert "cannot be reached" in reason
    await session.close()
