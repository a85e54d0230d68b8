"""The Engine adapter against a real engine: its rights, its deaths, its faults."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.docker.creation import Labels
from adapters.docker.engine import DockerEngine
from domain.model.containers import Blueprint, BuildFailed, Container
from domain.model.servers import Limits, ServerName
from domain.ports.engines import EngineUnavailable
from domain.ports.launching import Exit, LaunchFailed
from tests.contracts.engines import NAME, EngineContract, EngineWorld
from tests.contracts.launching import LONG, SHORT, read_exactly
from tests.docker.test_contract import ROLES, box
from tests.real.engine import BOX, Engine
from tests.system.running import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.containers]

MISSING = Container(image="sutazai-test/nowhere:1")


class TestDockerEngine(EngineContract):
    @pytest.fixture
    def world(self, real_engine: Engine) -> EngineWorld:
        async def go_down() -> None:
            await asyncio.to_thread(real_engine.stop)

        async def come_back() -> None:
            await asyncio.to_thread(real_engine.start)

        return EngineWorld(
            recipe=lambda role: MISSING if role == "missing" else box(ROLES[role]),
            go_down=go_down,
            come_back=come_back,
        )


def inspected(real_engine: Engine) -> dict[str, Any]:
    with real_engine.client() as client:
        (one,) = client.get("/containers/json").json()
        answer: dict[str, Any] = client.get(f"/containers/{one['Id']}/json").json()
    return answer


async def test_a_container_has_few_rights(engine: DockerEngine, real_engine: Engine) -> None:
    child = await engine.launch(NAME, box("cat"))
    body = await asyncio.to_thread(inspected, real_engine)
    host = body["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["NetworkMode"] == "none"
    assert not host["Privileged"]
    assert not host["Binds"]
    assert body["Config"]["User"] == "65534:65534"
    assert body["Config"]["Labels"] == {
        "sutazai.server": NAME,
        "sutazai.node": "tests",
        "sutazai.generation": "1",
    }
    await child.end(LONG)


async def test_a_killed_container_shows_within_a_second(
    engine: DockerEngine, real_engine: Engine
) -> None:
    child = await engine.launch(NAME, box("cat"))

    def kill() -> None:
        with real_engine.client() as client:
            client.post(f"/containers/{child.container_id}/kill").raise_for_status()

    await asyncio.to_thread(kill)
    async with asyncio.timeout(1):
        assert await child.wait() == Exit(signal=signal.SIGKILL)
    await child.end(LONG)


async def test_too_much_memory_ends_it_with_that_reason(engine: DockerEngine) -> None:
    hungry = "awk 'BEGIN { s = \"x\"; while (1) s = s s }'"
    child = await engine.launch(NAME, box(hungry), Limits(memory_mb=32))
    async with asyncio.timeout(20):
        exit_ = await child.wait()
    assert exit_.excess == "it took more memory than its limit of 32 MB"
    await child.end(LONG)


async def test_one_that_ends_at_once_is_seen_and_its_last_words_are_kept(
    engine: DockerEngine,
) -> None:
    child = await engine.launch(NAME, box("echo 'no licence' >&2; exit 9"))
    async with asyncio.timeout(5):
        assert await child.wait() == Exit(code=9)
        while not child.stream.ended.is_set():
            await child.stream.read()
    assert child.log_tail() == ("no licence",)
    await child.end(LONG)


async def test_diagnostics_are_followed_to_the_end(engine: DockerEngine) -> None:
    child = await engine.launch(NAME, box("while read word; do echo $word >&2; done"))
    seen: list[str] = []

    async def follow() -> None:
        async for line in engine.logs(child.container_id, 10):
            seen.append(line)  # noqa: PERF401 - they are looked at meanwhile

    following = asyncio.create_task(follow())
    for word in (b"one\n", b"two\n"):
        await child.stream.write(word)
    async with asyncio.timeout(5):
        while seen != ["one", "two"]:  # noqa: ASYNC110 - the lines are all there is to see
            await asyncio.sleep(0.02)
    await child.end(LONG)
    async with asyncio.timeout(5):
        await following


async def test_what_it_uses_is_measured(engine: DockerEngine) -> None:
    child = await engine.launch(NAME, box("while :; do :; done"), Limits(cpu_percent=50))
    usage = await engine.usage(child.container_id)
    assert usage.processes >= 1
    assert usage.memory_bytes > 0
    assert 5 < usage.cpu_percent < 75
    await child.end(SHORT)


async def test_what_an_earlier_life_left_is_removed_and_anothers_is_not(
    real_engine: Engine,
) -> None:
    def opened(node: str, generation: str) -> DockerEngine:
        return DockerEngine("here", real_engine.host, Labels(node=node, generation=generation))

    old, other, fresh = opened("mine", "1"), opened("another", "1"), opened("mine", "2")
    lost = await old.launch(NAME, box("cat"))
    kept = await other.launch(ServerName("theirs"), box("cat"))
    assert await fresh.sweep() == 1
    async with asyncio.timeout(5):
        await lost.wait()
    assert await fresh.containers() == ()
    await kept.stream.write(b"fine")
    assert await read_exactly(kept.stream, 4) == b"fine"
    for each in (old, other, fresh):
        await each.aclose()


@pytest.fixture
async def thawed(real_engine: Engine) -> AsyncIterator[None]:
    yield
    real_engine.send(signal.SIGCONT)


async def test_an_engine_that_hangs_costs_no_more_than_the_bound(
    engine: DockerEngine, real_engine: Engine, thawed: None
) -> None:
    child = await engine.launch(NAME, box("cat"))
    real_engine.send(signal.SIGSTOP)
    begun = time.monotonic()
    with pytest.raises(EngineUnavailable, match="does not answer in time"):
        await engine.status()
    assert time.monotonic() - begun < 17
    real_engine.send(signal.SIGCONT)
    await child.stream.write(b"still")
    assert await read_exactly(child.stream, 5) == b"still"
    await child.end(LONG)


async def test_a_container_that_could_not_be_removed_is_removed_once_the_engine_is_back(
    engine: DockerEngine, real_engine: Engine
) -> None:
    child = await engine.launch(NAME, box("cat"))
    await asyncio.to_thread(real_engine.kill)
    async with asyncio.timeout(10):
        await child.end(SHORT)
    await asyncio.to_thread(real_engine.start)
    async with asyncio.timeout(15):
        while await engine.containers():  # noqa: ASYNC110 - the engine tells of no removal here
            await asyncio.sleep(0.1)


async def test_an_image_is_built_in_json_form(engine: DockerEngine) -> None:
    word = "$(touch /tmp/x); `id` && a\"b'c"
    blueprint = Blueprint(
        image="sutazai/built:1",
        base=BOX,
        steps=(("/bin/sh", "-c", 'printf %s "$0" > /built', word),),
        command=("/bin/cat", "/built"),
    )
    built = await engine.images.build(blueprint, Limits(), timedelta(minutes=2))
    child = await engine.launch(NAME, Container(image="sutazai/built:1", pinned=built))
    assert await read_exactly(child.stream, len(word)) == word.encode()
    await child.end(LONG)


async def test_a_build_says_why_it_failed_and_is_bound_in_time(
    engine: DockerEngine, real_engine: Engine
) -> None:
    broken = Blueprint(
        image="sutazai/broken:1",
        base=BOX,
        steps=(("/bin/sh", "-c", "echo no such package >&2; exit 4"),),
        command=("true",),
    )
    with pytest.raises(BuildFailed, match="no such package"):
        await engine.images.build(broken, Limits(), timedelta(minutes=1))
    endless = Blueprint(
        image="sutazai/endless:1", base=BOX, steps=(("/bin/sleep", "600"),), command=("true",)
    )
    begun = time.monotonic()
    with pytest.raises(BuildFailed, match="longer than 2 s"):
        await engine.images.build(endless, Limits(), timedelta(seconds=2))
    assert time.monotonic() - begun < 10

    def left() -> int:
        with real_engine.client() as client:
            return len(client.get("/containers/json?all=1").json())

    async with asyncio.timeout(20):
        while await asyncio.to_thread(left):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.1)


async def test_nobody_listens_there() -> None:
    nowhere = DockerEngine("gone", "unix:///nonexistent.sock", Labels(node="n", generation="1"))
    with pytest.raises(EngineUnavailable, match="'gone' cannot be reached"):
        await nowhere.launch(NAME, box("cat"))
    await nowhere.aclose()


async def test_a_secret_is_not_repeated(engine: DockerEngine) -> None:
    recipe = Container(image=BOX, env={"TOKEN": "s3cret=\0"}, command=("cat",))
    with pytest.raises(LaunchFailed) as failure:
        await engine.launch(NAME, recipe)
    assert "s3cret" not in failure.value.message


LEFT_ALONE = """
import os, signal
from tests.real.engine import Engine
engine = Engine()
engine.start()
print(engine.path.parent, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_an_engine_does_not_outlive_tests_that_are_killed() -> None:
    told = subprocess.run(
        [sys.executable, "-c", LEFT_ALONE], stdout=subprocess.PIPE, text=True, check=False
    ).stdout
    folder = Path(told.strip())
    eventually(lambda: not folder.exists(), 60)
    commands = (_command(process) for process in Path("/proc").glob("[0-9]*"))
    assert not [command for command in commands if str(folder) in command]


def _command(process: Path) -> str:
    try:
        return (process / "cmdline").read_text("utf-8", "replace")
    except OSError:
        return ""
