"""The session driven without HTTP: prints one measured load as JSON.

Run as `python -m tests.bench.session IN_FLIGHT SECONDS`, a process of its own like the systems
that it stands beside.
"""

import asyncio
import os
import sys
import time
from datetime import timedelta

import msgspec
import uvloop

from adapters.mcp.connector import StreamConnector
from adapters.processes.launcher import ProcessLauncher
from domain.model.servers import Command, ServerName
from domain.ports.mcp import Opening
from tests.bench.load import Measured, measured
from tests.bench.systems import ECHO

WAIT = timedelta(seconds=10)


async def load(in_flight: int, seconds: float) -> Measured:
    """Calls of the echo tool over one session."""
    launcher = ProcessLauncher("bench", os.environ)
    recipe = Command(command=sys.executable, args=("-I", "-S", str(ECHO)))
    child = await launcher.launch(ServerName("echo"), recipe)
    opening = Opening(probe_timeout=WAIT, start_timeout=WAIT)
    session = await StreamConnector("bench", "0").connect(child.stream, opening, lambda _: None)
    latencies: list[float] = []
    params = {"name": "echo", "arguments": {"text": "hello"}}
    begun = time.perf_counter()

    async def call_on_and_on() -> None:
        while (now := time.perf_counter()) < begun + seconds:
            await session.request("tools/call", params, timeout=WAIT)
            latencies.append(time.perf_counter() - now)

    await asyncio.gather(*(call_on_and_on() for _ in range(in_flight)))
    result = measured(latencies, time.perf_counter() - begun)
    await session.close()
    await child.end(WAIT)
    await launcher.aclose()
    return result


if __name__ == "__main__":
    outcome = uvloop.run(load(int(sys.argv[1]), float(sys.argv[2])))
    sys.stdout.write(msgspec.json.encode(outcome).decode())
