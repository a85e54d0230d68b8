"""What containers use is seen without asking, and one that floods is ended with that reason."""

import asyncio

import pytest

from adapters.docker.engine import DockerEngine
from domain.model.servers import Limits
from tests.contracts.engines import NAME
from tests.contracts.launching import LONG
from tests.docker.test_contract import box

pytestmark = [pytest.mark.anyio, pytest.mark.containers]

FLOOD = "while :; do cat /bin/busybox >&2; done"
SPIN = "while :; do :; done"


async def test_what_a_container_uses_is_seen(engine: DockerEngine) -> None:
    child = await engine.launch(NAME, box(SPIN))
    async with asyncio.timeout(20):
        while child.usage is None or child.usage.cpu_percent < 10:  # noqa: ASYNC110
            await asyncio.sleep(0.1)  # nobody is told of a sample
    assert child.usage.processes == 2  # with the engine's init
    assert 0 < child.usage.memory_bytes < 20_000_000
    await child.end(LONG)


async def test_one_that_floods_is_ended_with_that_reason_and_nobody_else_is(
    engine: DockerEngine,
) -> None:
    modest = await engine.launch(NAME, box("cat"))
    child = await engine.launch(NAME, box(FLOOD), Limits(output_mb_per_s=0.5))
    async with asyncio.timeout(40):
        exit_ = await child.wait()
    assert "MB/s for 10 s, over its limit of 0.5 MB/s" in str(exit_)
    assert exit_.signal == 9
    await modest.stream.write(b"still here\n")
    assert await modest.stream.read() == b"still here\n"
