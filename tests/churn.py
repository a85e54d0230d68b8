"""One server started and stopped again and again, with calls in each life.

Run as `python -m tests.churn [--lives N] [--calls N]`; exits with 1 when a bound is broken.
"""

import argparse
import asyncio
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path

import uvloop

from adapters.inmemory.signals import MemorySignals
from adapters.inmemory.system import SeededChance
from adapters.inmemory.transactions import MemoryTransactions
from adapters.mcp.connector import StreamConnector
from adapters.mcp.remote.connector import HttpConnector
from adapters.processes.launcher import ProcessLauncher
from adapters.schemas.compiler import JsonSchemaCompiler
from adapters.system import SystemClock
from domain.model.callers import LOCAL
from domain.model.servers import Command, Origin, ServerName, ServerSpec, StartPolicy
from domain.orchestration.fleet import Fleet
from domain.orchestration.life import Parts
from domain.orchestration.placement import PlacedLauncher
from domain.orchestration.roster import Roster
from domain.orchestration.service import McpService
from tests.bounds import Bound, Footprint, footprint, marked, told

ECHO = Path(__file__).parent / "fixtures" / "mcp_servers" / "echo.py"
NAME = ServerName("echo")
WAIT = timedelta(seconds=20)
AT_ONCE = 20
WARM_UP = 0.2
# A fifth of all calls: by then caches and the allocator's arenas have their size.
MOST_GROWTH_MB = 5.0


def _fleet(launcher: ProcessLauncher) -> Fleet:
    clock = SystemClock()
    parts = Parts(
        launcher=launcher,
        containers=PlacedLauncher({}),
        connector=StreamConnector("churn", "0"),
        dialer=HttpConnector("churn", "0"),
        clock=clock,
        chance=SeededChance(1),
    )
    spec = ServerSpec(
        name=NAME,
        recipe=Command(command=sys.executable, args=("-I", "-S", str(ECHO))),
        start=StartPolicy.LAZY,
        origin=Origin.FILE,
        owner=LOCAL.id,
    )
    roster = Roster(MemoryTransactions(clock), MemorySignals(), [spec])
    return Fleet(parts, roster, JsonSchemaCompiler())


async def _one_life(mcp: McpService, calls: int) -> None:
    await mcp.start_server(LOCAL, NAME)
    left = iter(range(calls))

    async def call_on() -> None:
        for number in left:
            await mcp.call_tool(LOCAL, NAME, "echo", {"text": str(number)}, timeout=WAIT)

    await asyncio.gather(*(call_on() for _ in range(AT_ONCE)))
    await mcp.stop_server(LOCAL, NAME)


async def churn(lives: int, calls: int) -> list[Bound]:
    """All lives, one after another; what came of the bounds."""
    installation = f"churn-{os.getpid()}"
    launcher = ProcessLauncher(installation, os.environ)
    fleet = _fleet(launcher)
    mcp = McpService(fleet, SystemClock())
    await fleet.start()
    await _one_life(mcp, calls)
    start = warm = footprint(os.getpid())
    begun = time.monotonic()
    warm_after = max(1, round(lives * WARM_UP))
    for number in range(1, lives + 1):
        await _one_life(mcp, calls)
        if number == warm_after:
            warm = footprint(os.getpid())
        if number % max(1, lives // 10) == 0:
            print(f"{number:6} lives {time.monotonic() - begun:7.1f} s  {footprint(os.getpid())}")
    end = footprint(os.getpid())
    left = len(marked(installation))
    await fleet.stop()
    await launcher.aclose()
    note = f"{lives} lives, {lives * calls} calls, {time.monotonic() - begun:.0f} s"
    return [
        *_bounds(start, warm, end),
        Bound(what="processes left", measured=left, most=0, note=note),
    ]


def _bounds(start: Footprint, warm: Footprint, end: Footprint) -> list[Bound]:
    return [
        Bound(
            what="growth after a fifth of the calls, MB",
            measured=end.resident_mb - warm.resident_mb,
            most=MOST_GROWTH_MB,
            note=f"{start.resident_mb:.1f} -> {warm.resident_mb:.1f} -> {end.resident_mb:.1f} MB",
        ),
        Bound(
            what="open files more than at the start",
            measured=end.open_files - start.open_files,
            most=0,
            note=f"{start.open_files} at the start",
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lives", type=int, default=1000)
    parser.add_argument("--calls", type=int, default=100, help="in each life")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    sys.exit(told(uvloop.run(churn(given.lives, given.calls))))


if __name__ == "__main__":
    main()
