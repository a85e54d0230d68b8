"""A server that takes more than it may is ended with that reason, and nobody else is."""

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from adapters.processes.launcher import ProcessLauncher
from domain.model.servers import Limits, ServerName
from tests.processes.programs import ECHO, python

pytestmark = pytest.mark.anyio

NAME = ServerName("s")
GRACE = timedelta(seconds=2)
HUNGRY = "held = bytearray(200_000_000); held[::4096] = b'x' * len(held[::4096]); "
FORKING = "[os.fork() for _ in range(3)]; "
SPINNING = "end = time.time() + 60\nwhile time.time() < end: pass"
FLOODING = "while True: sys.stderr.write('x' * 65536)"
WAITING = "sys.stdin.read()"


@pytest.fixture
async def launcher() -> AsyncIterator[ProcessLauncher]:
    launcher = ProcessLauncher("test", {"PATH": os.environ["PATH"]})
    yield launcher
    await launcher.aclose()


@pytest.mark.parametrize(
    ("code", "limits", "reason"),
    [
        (HUNGRY + WAITING, Limits(memory_mb=100), "MB of memory, over its limit of 100 MB"),
        (FORKING + WAITING, Limits(processes=4), "it ran 8 processes, over its limit of 4"),
        (SPINNING, Limits(cpu_percent=20), "% of a core for 10 s, over its limit of 20 %"),
        (FLOODING, Limits(output_mb_per_s=0.5), "MB/s for 10 s, over its limit of 0.5 MB/s"),
    ],
    ids=["memory", "processes", "cpu", "output"],
)
async def test_going_over_a_limit_ends_it_with_that_reason(
    launcher: ProcessLauncher, code: str, limits: Limits, reason: str
) -> None:
    modest = await launcher.launch(NAME, python(ECHO))
    child = await launcher.launch(NAME, python(code), limits)
    exit_ = await child.wait()
    assert reason in str(exit_)
    assert exit_.signal == 9
    await modest.stream.write(b"still here\n")
    assert await modest.stream.read() == b"still here\n"


async def test_what_a_server_uses_is_seen(launcher: ProcessLauncher) -> None:
    child = await launcher.launch(NAME, python(HUNGRY + WAITING))
    async with asyncio.timeout(10):
        while child.usage is None or child.usage.memory_bytes < 200_000_000:  # noqa: ASYNC110
            await asyncio.sleep(0.1)  # nobody is told of a sample
    assert child.usage.processes == 1
    assert child.limits.memory_mb == 2048
    await child.end(GRACE)
