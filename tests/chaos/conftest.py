"""Misbehaving servers behind the whole system, or behind a fleet in the test's own process."""

import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.inmemory.signals import MemorySignals
from adapters.inmemory.system import SeededChance
from adapters.inmemory.transactions import MemoryTransactions
from adapters.mcp.connector import StreamConnector
from adapters.mcp.remote.connector import HttpConnector
from adapters.processes.launcher import ProcessLauncher
from adapters.schemas.compiler import JsonSchemaCompiler
from adapters.system import SystemClock
from domain.model.callers import LOCAL
from domain.model.servers import Command, Limits, Origin, ServerName, ServerSpec
from domain.model.tools import ToolResult
from domain.orchestration.fleet import Fleet
from domain.orchestration.life import Parts
from domain.orchestration.placement import PlacedLauncher
from domain.orchestration.roster import Roster
from domain.orchestration.service import McpService
from domain.ports.mcp import ProgressSink
from tests.domain.toys import HASTY, until
from tests.system.running import System

ROOT = Path(__file__).parents[2]
MODULE = "tests.fixtures.mcp_servers.chaos"
ERAS = ("dual", "legacy")
Make = Callable[..., System]


def entry(era: str = "dual", **own: Any) -> dict[str, Any]:
    """The chaos server as an entry of a file."""
    return {
        "command": sys.executable,
        "args": ["-m", MODULE, era],
        "cwd": str(ROOT),
        "sutazai": own,
    }


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """One system with the given entries, started; it does not outlive the test."""
    made: list[System] = []

    def one(**servers: Any) -> System:
        made.append(System(tmp_path, servers).start())
        for name in servers:
            made[-1].until_ready(name)
        return made[-1]

    yield one
    for system in made:
        system.end()
        system.close()
        assert not system.marked()


class Chaos:
    """A fleet of one chaos server, as `chaos`."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.mcp = McpService(fleet, SystemClock())

    async def call(
        self,
        tool: str,
        *,
        timeout_s: float = 20,
        progress: ProgressSink | None = None,
        **arguments: Any,
    ) -> ToolResult:
        """Call one of its tools."""
        timeout = timedelta(seconds=timeout_s)
        return await self.mcp.call_tool(
            LOCAL, "chaos", tool, arguments, timeout=timeout, progress=progress
        )


@asynccontextmanager
async def chaos(era: str, limits: Limits | None = None) -> AsyncIterator[Chaos]:
    """A started one; on leaving nothing of it is left."""
    launcher = ProcessLauncher("chaos", {"PATH": os.environ["PATH"]})
    clock = SystemClock()
    parts = Parts(
        launcher=launcher,
        containers=PlacedLauncher({}),
        connector=StreamConnector("tester", "1"),
        dialer=HttpConnector("tester", "1"),
        clock=clock,
        chance=SeededChance(1),
        policy=HASTY,
    )
    spec = ServerSpec(
        name=ServerName("chaos"),
        recipe=Command(command=sys.executable, args=("-m", MODULE, era), cwd=str(ROOT)),
        owner=LOCAL.id,
        origin=Origin.FILE,
        limits=limits or Limits(),
    )
    roster = Roster(MemoryTransactions(clock), MemorySignals(), [spec])
    here = Chaos(Fleet(parts, roster, JsonSchemaCompiler()))
    await here.fleet.start()
    try:
        await until(lambda: here.mcp.record("chaos").state == "ready")
        yield here
    finally:
        await here.fleet.stop()
        left = launcher.running
        await launcher.aclose()
        assert not left
