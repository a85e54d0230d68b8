"""The whole system under full load beside a server that crashes again and again.

Run as `python -m tests.soak [--seconds N]`; prints a table and exits with 1 when a bound is broken.
"""

import argparse
import asyncio
import contextlib
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import uvloop

from tests.bounds import Bound, Footprint, footprint, marked, told
from tests.soak_load import DEADLINE_S, Connection, Load
from tests.system.running import System, eventually

FIXTURES = Path(__file__).parent / "fixtures" / "mcp_servers"
ROOT = Path(__file__).parents[1]
STEADY = tuple(f"echo-{number}" for number in range(3))
CONNECTIONS = 32
CRASH_EVERY_S = 5.0
WARM_UP = 0.2
QUIET = 0.2
# Parts of the whole time: before the crashes, and of the crashes before anything is measured.
MOST_GROWTH_MB = 5.0
MOST_SLOWDOWN = 2.0
LATE_S = 1.0
# An answer may come so long after its deadline.
SETTLE_S = 0.5
CRASHING = "crashing"


def entries() -> dict[str, Any]:
    """Fast servers that must not notice the other one."""
    steady = {"command": sys.executable, "args": ["-I", "-S", str(FIXTURES / "echo.py")]}
    chaos = {
        "command": sys.executable,
        "args": ["-m", "tests.fixtures.mcp_servers.chaos"],
        "cwd": str(ROOT),
    }
    return {**dict.fromkeys(STEADY, steady), CRASHING: chaos}


class Crasher:
    """Ends its server every few seconds, and wakes it where it would wait for long."""

    def __init__(self, base_url: str) -> None:
        # One connection a request: those that idle would blur the count of open files.
        headers = {"Connection": "close"}
        self._client = httpx.AsyncClient(base_url=base_url, headers=headers, timeout=30)
        self.whole = asyncio.Lock()
        self.crashes = 0

    async def run(self) -> None:
        """Until cancelled; while `whole` is held it serves."""
        async with self._client:
            while True:
                begun = time.monotonic()
                async with self.whole:
                    await self._crash()
                await asyncio.sleep(max(0.0, begun + CRASH_EVERY_S - time.monotonic()))

    async def _crash(self) -> None:
        server = f"/api/v1/mcp/servers/{CRASHING}"
        gone = await self._client.post(f"{server}/tools/exit", json={})
        assert gone.status_code == httpx.codes.BAD_GATEWAY, gone.text
        self.crashes += 1
        async with asyncio.timeout(20):
            while True:
                now = (await self._client.post(f"{server}/start")).json()
                if now["state"] == "ready" and now["restarts"] >= self.crashes:
                    return
                await asyncio.sleep(0.2)


class Watch:
    """Looks at the system every second."""

    def __init__(self, load: Load, other: Load, pid: int) -> None:
        self._load = load
        self._other = other
        self.pid = pid
        self.seen: list[Footprint] = []
        self.unanswered = 0

    async def run(self, every_s: float) -> None:
        """Until cancelled; tells every `every_s` seconds how it stands."""
        begun = told_at = time.monotonic()
        while True:
            await asyncio.sleep(1)
            now = time.monotonic()
            for load in (self._load, self._other):
                self.unanswered += load.overdue(DEADLINE_S + LATE_S)
            self.seen.append(footprint(self.pid))
            if now - told_at >= every_s:
                told_at = now
                print(f"{now - begun:6.0f} s {self._load.answered:9} calls  {self.seen[-1]}")


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


async def steady(port: int, seconds: float, pid: int) -> tuple[Load, Footprint]:
    """The load without crashes: what quiet values are, and what the system holds."""
    load = Load()
    connections = [Connection(load, port, STEADY, number) for number in range(CONNECTIONS)]
    async with beside(*(connection.run() for connection in connections)):
        await asyncio.sleep(seconds)
        return load, footprint(pid)


class Outcome:
    """What a soak measured."""

    def __init__(self, load: Load, other: Load, watch: Watch) -> None:
        self.load, self.other, self.watch = load, other, watch
        self.start = self.end = footprint(watch.pid)
        self.crashes = 0


async def crashing(system: System, pid: int, seconds: float) -> Outcome:
    """The load with crashes; its latencies and the growth count from the warm-up on."""
    load, other = Load(), Load()
    connections = [Connection(load, system.port, STEADY, number) for number in range(CONNECTIONS)]
    victim = Connection(other, system.port, (CRASHING,), 0, patient=True)
    crasher, watch = Crasher(str(system.client.base_url)), Watch(load, other, pid)
    works = [connection.run() for connection in (*connections, victim)]
    async with beside(*works, crasher.run(), watch.run(seconds / 10)) as tasks:
        await asyncio.sleep(seconds * WARM_UP)
        outcome = Outcome(load, other, watch)
        outcome.start = await settled(crasher, pid)
        load.forget()
        await asyncio.sleep(seconds * (1 - WARM_UP))
        outcome.end = await settled(crasher, pid)
        for task in tasks:
            if task.done():
                task.result()
    outcome.crashes = crasher.crashes
    return outcome


async def settled(crasher: Crasher, pid: int) -> Footprint:
    """What the system holds under load while every server serves."""
    async with crasher.whole:
        await asyncio.sleep(SETTLE_S)
        return footprint(pid)


def bounds(quiet: Load, outcome: Outcome) -> list[Bound]:
    """The promises of this run."""
    load, start, end, watch = outcome.load, outcome.start, outcome.end, outcome.watch
    most = max(watch.seen, key=lambda seen: seen.resident_mb).resident_mb
    return [
        Bound(
            what="calls unanswered past deadline plus 1 s",
            measured=watch.unanswered,
            most=0,
            note=f"longest {load.longest_s * 1000:.0f} ms, "
            f"of the crashing server {outcome.other.longest_s * 1000:.0f} ms",
        ),
        Bound(
            what="calls of steady servers not answered 200",
            measured=sum(load.statuses.values()) - load.statuses[200],
            most=0,
            note=f"{load.answered} calls; crashing: {dict(outcome.other.statuses)}",
        ),
        Bound(
            what="growth after the warm-up, MB",
            measured=end.resident_mb - start.resident_mb,
            most=MOST_GROWTH_MB,
            note=f"{start.resident_mb:.1f} -> {end.resident_mb:.1f} MB, most {most:.1f}",
        ),
        Bound(
            what="open files more or less than at the start",
            measured=abs(end.open_files - start.open_files),
            most=0,
            note=f"{start.open_files} -> {end.open_files}, "
            f"most {max(seen.open_files for seen in watch.seen)}",
        ),
        Bound(
            what="processes more or less than at the start",
            measured=abs(end.processes - start.processes),
            most=0,
            note=f"{start.processes}, most {max(seen.processes for seen in watch.seen)}; "
            f"{outcome.crashes} crashes",
        ),
        *(slowdown(name, quiet, load) for name in STEADY),
    ]


def slowdown(name: str, quiet: Load, load: Load) -> Bound:
    """A steady server's p99 as a multiple of its quiet value."""
    before, after = (
        statistics.quantiles(latencies, n=100)[98] * 1000
        for latencies in (quiet.latencies[name], load.latencies[name])
    )
    note = f"{before:.1f} -> {after:.1f} ms"
    return Bound(what=f"p99 of {name}", measured=after / before, most=MOST_SLOWDOWN, note=note)


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
        quiet, held = uvloop.run(steady(system.port, seconds * QUIET, pid))
        print(f"quiet: {quiet.answered / seconds / QUIET:.0f} calls/s, {held}")
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
