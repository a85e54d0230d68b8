"""The whole system under full load beside a server that crashes again and again.

Run as `python -m tests.soak [--seconds N]`; prints a table and exits with 1 when a bound is broken.

What a crash does to the other servers is told by pairs of windows: the first half of the time
between two crashes beside the second half. A machine that others use is slower now and then by
more than any crash costs, but it is so for both halves of a pair, and the median counts. What a
crash left behind for good would be in both halves too: that shows in the work that a call takes.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop

from tests.bounds import Bound, Footprint, footprint, marked, told
from tests.soak.crashes import CRASHING, Crasher, Watch
from tests.soak.load import Connection, Load
from tests.soak.promises import Outcome, Quiet, Stretch, bounds
from tests.system.running import System, eventually

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests" / "fixtures" / "mcp_servers"
STEADY = tuple(f"echo-{number}" for number in range(3))
CONNECTIONS = 32
WARM_UP = 0.2
QUIET = 0.2
# Parts of the whole time: before the crashes, and of the crashes before anything is measured.
SETTLE_S = 0.5


def entries() -> dict[str, Any]:
    """Fast servers that must not notice the other one."""
    steady = {"command": sys.executable, "args": ["-I", "-S", str(FIXTURES / "echo.py")]}
    chaos = {
        "command": sys.executable,
        "args": ["-m", "tests.fixtures.mcp_servers.chaos"],
        "cwd": str(ROOT),
    }
    return {**dict.fromkeys(STEADY, steady), CRASHING: chaos}


@asynccontextmanager
async def beside(*works: Any) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Work that goes on while the block runs; its failure is raised at the end."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def steady(port: int, seconds: float, pid: int) -> Quiet:
    """The load without crashes, after its warm-up."""
    load = Load()
    connections = [Connection(load, port, STEADY, number) for number in range(CONNECTIONS)]
    async with beside(*(connection.run() for connection in connections)):
        await asyncio.sleep(seconds * WARM_UP)
        stretch, latencies, begun = Stretch(load, pid), load.window(), load.answered
        await asyncio.sleep(seconds * (1 - WARM_UP))
        rate = (load.answered - begun) / seconds / (1 - WARM_UP)
        return Quiet(latencies, stretch.work_s(), rate)


async def crashing(system: System, pid: int, seconds: float) -> Outcome:
    """The load with crashes; its latencies and the growth count from the warm-up on."""
    load, other = Load(), Load()
    connections = [Connection(load, system.port, STEADY, number) for number in range(CONNECTIONS)]
    victim = Connection(other, system.port, (CRASHING,), 0, patient=True)
    crasher, watch = Crasher(str(system.client.base_url), load), Watch(load, other, pid)
    works = [connection.run() for connection in (*connections, victim)]
    async with beside(*works, crasher.run(), watch.run(seconds / 10)) as tasks:
        await asyncio.sleep(seconds * WARM_UP)
        outcome = Outcome(load, other, watch)
        outcome.start = await settled(crasher, pid)
        stretch = Stretch(load, pid)
        crasher.pairs.clear()
        await asyncio.sleep(seconds * (1 - WARM_UP))
        outcome.work_s = stretch.work_s()
        outcome.end = await settled(crasher, pid)
        for task in tasks:
            if task.done():
                task.result()
    outcome.crashes, outcome.pairs = crasher.crashes, crasher.pairs
    return outcome


async def settled(crasher: Crasher, pid: int) -> Footprint:
    """What the system holds under load while every server serves."""
    async with crasher.whole:
        await asyncio.sleep(SETTLE_S)
        return footprint(pid)


def soak(folder: Path, seconds: float) -> list[Bound]:
    """One run; on return nothing of it is left."""
    system = System(folder, entries())
    try:
        system.start()
        for name in (*STEADY, CRASHING):
            system.until_ready(name)
        assert system.process is not None
        pid = system.process.pid
        # The system would close the idle connection in mid-run, and its open files would differ.
        system.client.close()
        quiet = uvloop.run(steady(system.port, seconds * QUIET, pid))
        print(f"quiet: {quiet.calls_per_s:.0f} calls/s, {footprint(pid)}")
        begun = time.monotonic()
        outcome = uvloop.run(crashing(system, pid, seconds * (1 - QUIET)))
        passed = time.monotonic() - begun
        print(f"crashing: {sum(outcome.load.statuses.values()) / passed:.0f} calls/s")
        code = system.end()
        eventually(lambda: not marked(system.installation), 3)
        left = Bound(what="exit code of the system", measured=code, most=0)
        return [*bounds(quiet, outcome), left]
    finally:
        system.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    with tempfile.TemporaryDirectory() as name:
        sys.exit(told(soak(Path(name), given.seconds)))


if __name__ == "__main__":
    main()
