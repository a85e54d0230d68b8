"""The official SDK as an independent peer: its servers under our client, its client on ours."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from mcp import Client, MCPError, StdioServerParameters

from domain.model.servers import Era
from domain.model.tasks import TaskProgress
from domain.model.tools import CallTimedOut, PeerRefused
from tests.mcp.pipes import ROOT
from tests.mcp.sessions import FIXTURES, LONG, call, opening, session_with

pytestmark = pytest.mark.anyio
SDK = f"{FIXTURES}.sdk"
ERAS = pytest.mark.parametrize("era", list(Era))
MODES = pytest.mark.parametrize(
    ("mode", "version"), [("auto", "2026-07-28"), ("legacy", "2025-11-25")]
)


@ERAS
async def test_a_server_of_the_sdk_is_opened_listed_and_called(era: Era) -> None:
    async with session_with("-m", SDK, how=opening(era)) as (session, _):
        assert (session.peer.era, session.peer.name) == (era, "sdk-fixture")
        assert (session.peer.version, session.peer.instructions) == ("7", "Ask away.")
        tools = await session.list_all("tools/list", "tools", timeout=timedelta(seconds=20))
        assert "echo" in [tool["name"] for tool in tools]
        result = await call(session, text="hello")
        assert result["content"][0] == {"type": "text", "text": "hello"}
        assert (await call(session, "fail"))["isError"]
        with pytest.raises(PeerRefused) as refused:
            await session.request("no/such", {}, timeout=LONG)
        assert refused.value.code == -32601
        assert session.traffic.noise_lines == 0


async def test_the_probe_finds_a_server_of_the_sdk_modern() -> None:
    async with session_with("-m", SDK) as (session, _):
        assert session.peer.era is Era.MODERN


@ERAS
async def test_a_server_of_the_sdk_reports_progress(era: Era) -> None:
    reports: list[TaskProgress] = []
    params = {"name": "count", "arguments": {"steps": 3}}
    async with session_with("-m", SDK, how=opening(era)) as (session, _):
        await session.request("tools/call", params, timeout=LONG, progress=reports.append)
    assert [report.progress for report in reports] == [1, 2, 3]
    assert reports[-1] == TaskProgress(progress=3, total=3, message="step 3")


@ERAS
async def test_a_server_of_the_sdk_takes_a_cancellation(era: Era) -> None:
    params = {"name": "sleep", "arguments": {"seconds": 60}}
    async with session_with("-m", SDK, how=opening(era)) as (session, _):
        with pytest.raises(CallTimedOut):
            await session.request("tools/call", params, timeout=timedelta(seconds=0.2))
        await call(session, text="still here")
        assert session.traffic.noise_lines == 0


async def test_a_server_of_the_sdk_tells_of_a_new_tool() -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with session_with("-m", SDK, changed=heard.put_nowait) as (session, _):
        await call(session, "grow")
        assert await asyncio.wait_for(heard.get(), 5) == "tools"
        tools = await session.list_all("tools/list", "tools", timeout=timedelta(seconds=20))
        assert "grown" in [tool["name"] for tool in tools]


@ERAS
async def test_the_time_server_of_the_registry_is_served(era: Era) -> None:
    how = opening(era)
    async with session_with("-m", "mcp_server_time", how=how) as (session, _):
        tools = await session.list_all("tools/list", "tools", timeout=timedelta(seconds=20))
        assert {tool["name"] for tool in tools} == {"get_current_time", "convert_time"}
        result = await call(session, "get_current_time", timezone="UTC")
        assert result["structuredContent"]["timezone"] == "UTC"


@asynccontextmanager
async def bundled(mode: str) -> AsyncIterator[Client]:
    """Our bundled server under the SDK's client, which validates all that it is told."""
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "entrypoints.mcp.bundled"], cwd=ROOT / "src"
    )
    async with Client(server, mode=mode, read_timeout_seconds=20) as client:
        yield client


@MODES
async def test_the_sdks_client_opens_the_bundled_server(mode: str, version: str) -> None:
    async with bundled(mode) as client:
        assert client.protocol_version == version
        assert client.server_info is not None
        assert client.server_info.name == "sutazai-bundled"
        listed = await client.list_tools()
        assert len(listed.tools) == 9
        hinted = [t.name for t in listed.tools if t.annotations and t.annotations.read_only_hint]
        assert set(hinted) == {tool.name for tool in listed.tools} - {"wait"}


@MODES
async def test_the_sdks_client_calls_every_bundled_tool(mode: str, version: str) -> None:
    calls: dict[str, dict[str, Any]] = {
        "current_time": {"timezone": "Europe/Berlin"},
        "convert_time": {
            "time": "2026-07-01T12:00",
            "from_timezone": "Europe/Berlin",
            "to_timezone": "Asia/Kathmandu",
        },
        "time_difference": {"start": "2026-01-01T00:00", "end": "2026-01-02T01:00:00Z"},
        "wait": {"seconds": 0},
        "echo": {"text": "hello"},
        "count_text": {"text": "one two"},
        "hash_text": {"text": "x", "algorithm": "sha1"},
        "transform_text": {"text": "x", "transformation": "upper"},
        "find_text": {"text": "abab", "pattern": "b"},
    }
    async with bundled(mode) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert names == set(calls)
        for name, arguments in calls.items():
            result = await client.call_tool(name, arguments)
            assert not result.is_error, name


@MODES
async def test_the_sdks_client_is_refused_and_corrected(mode: str, version: str) -> None:
    async with bundled(mode) as client:
        with pytest.raises(MCPError) as refused:
            await client.call_tool("no_such_tool", {})
        assert refused.value.error.code == -32602
        result = await client.call_tool("current_time", {"timezone": "Mars/Olympus"})
        assert result.is_error


@MODES
async def test_the_sdks_client_hears_progress_of_the_bundled_server(
    mode: str, version: str
) -> None:
    heard: list[tuple[float, float | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((round(progress, 1), total))

    async with bundled(mode) as client:
        await client.call_tool("wait", {"seconds": 0.5}, progress_callback=hear)
    assert heard == [(0.2, 0.5), (0.4, 0.5), (0.5, 0.5)]
