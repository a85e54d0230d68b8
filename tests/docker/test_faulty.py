"""An engine that answers 500, hangs, or acts and does not say so, at each kind of request."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.docker.creation import Labels
from adapters.docker.engine import DockerEngine
from domain.errors import Failure
from domain.model.containers import EngineRefused
from domain.ports.launching import LaunchFailed
from tests.contracts.engines import NAME
from tests.contracts.launching import LONG
from tests.docker.test_contract import box
from tests.real.engine import Engine
from tests.real.faulty_engine import FaultyEngine

pytestmark = [pytest.mark.anyio, pytest.mark.containers]

FIND, CREATE = r"^GET /v[\d.]+/images/", r"^POST /v[\d.]+/containers/create"
ATTACH, START = r"^POST .*/attach", r"^POST .*/start"
STEPS = pytest.mark.parametrize(
    "step", [FIND, CREATE, ATTACH, START], ids=["find", "create", "attach", "start"]
)
WORDS = "the disk is not there"
PATIENCE_S = 1.0
GONE_S = 15.0


@pytest.fixture
async def faulty(real_engine: Engine, tmp_path: Path) -> AsyncIterator[FaultyEngine]:
    async with FaultyEngine(real_engine.path, tmp_path / "faulty.sock").open() as way:
        yield way


@pytest.fixture
async def engine(faulty: FaultyEngine, real_engine: Engine) -> AsyncIterator[DockerEngine]:
    """The adapter on that way; in the end nothing of it is left on the engine."""
    opened = DockerEngine("here", faulty.host, Labels(node="tests", generation="1"))
    yield opened
    faulty.heal()
    await opened.aclose()
    remains = await left(real_engine)
    await asyncio.to_thread(real_engine.empty)  # for the tests after this one
    assert remains == []


async def left(real_engine: Engine) -> list[str]:
    return await asyncio.to_thread(real_engine.running, NAME)


async def gone(real_engine: Engine) -> None:
    async with asyncio.timeout(GONE_S):
        while await left(real_engine):  # noqa: ASYNC110 - the engine is all there is to see
            await asyncio.sleep(0.05)


@STEPS
async def test_a_launch_that_meets_a_500_fails_with_its_words_and_leaves_nothing(
    engine: DockerEngine, faulty: FaultyEngine, real_engine: Engine, step: str
) -> None:
    faulty.breaks = step
    with pytest.raises(LaunchFailed, match=WORDS):
        await engine.launch(NAME, box("cat"))
    assert await left(real_engine) == []
    faulty.heal()
    child = await engine.launch(NAME, box("cat"))
    await child.end(LONG)


@STEPS
async def test_a_launch_that_hangs_is_given_up_and_leaves_nothing(
    engine: DockerEngine, faulty: FaultyEngine, real_engine: Engine, step: str
) -> None:
    faulty.hangs = step
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            await engine.launch(NAME, box("cat"))
    await gone(real_engine)


@pytest.mark.parametrize("step", [CREATE, START], ids=["create", "start"])
async def test_what_was_done_without_being_told_leaves_nothing(
    engine: DockerEngine, faulty: FaultyEngine, real_engine: Engine, step: str
) -> None:
    faulty.mute = step
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            await engine.launch(NAME, box("cat"))
    await gone(real_engine)


@pytest.mark.parametrize("step", ["/containers/json", "/info", "/version"])
async def test_the_status_of_an_engine_that_answers_500_says_so(
    engine: DockerEngine, faulty: FaultyEngine, step: str
) -> None:
    faulty.breaks = step
    with pytest.raises(EngineRefused, match=WORDS):
        await engine.status()


async def test_a_removal_that_meets_a_500_is_made_up_for(
    engine: DockerEngine, faulty: FaultyEngine, real_engine: Engine
) -> None:
    child = await engine.launch(NAME, box("cat"))
    faulty.breaks = "^DELETE "
    await child.end(LONG)
    assert len(await left(real_engine)) == 1
    faulty.heal()
    await gone(real_engine)


async def test_events_that_break_off_with_a_500_are_asked_for_again(
    engine: DockerEngine, faulty: FaultyEngine, real_engine: Engine
) -> None:
    faulty.breaks = "/events"
    child = await engine.launch(NAME, box("cat"))
    faulty.heal()
    await asyncio.to_thread(real_engine.kill_container, child.container_id)
    async with asyncio.timeout(LONG.total_seconds()):
        assert (await child.wait()).signal == 9
    await child.end(LONG)


async def test_a_launch_is_refused_as_a_failure_that_callers_know(
    engine: DockerEngine, faulty: FaultyEngine
) -> None:
    faulty.breaks = "/version"
    with pytest.raises(Failure, match=WORDS):
        await engine.launch(NAME, box("cat"))
