"""One real engine for all tests of containers; where none can start they fail, they never skip."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.docker.creation import Labels
from adapters.docker.engine import DockerEngine
from tests.real.engine import BOX, Engine, box_tar
from tests.real.python_image import CHANGES, PYTHON, python_tar
from tests.system.running import System


@pytest.fixture(scope="session")
def real_engine() -> Iterator[Engine]:
    engine = Engine()
    try:
        engine.start()
        engine.bring_in(BOX, box_tar())
        yield engine
    finally:
        engine.close()


@pytest.fixture
async def engine(real_engine: Engine) -> AsyncIterator[DockerEngine]:
    """The adapter, whose every container is gone in the end."""
    labels = Labels(node="tests", generation="1")
    opened = DockerEngine("here", real_engine.host, labels)
    yield opened
    await opened.aclose()
    with real_engine.client() as client:
        assert client.get("/containers/json?all=1").json() == []


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture(scope="session")
def python_image(real_engine: Engine) -> str:
    """An image that runs this project's bundled server."""
    real_engine.bring_in(PYTHON, python_tar(), CHANGES)
    return PYTHON


@pytest.fixture
def make(real_engine: Engine, python_image: str, tmp_path: Path) -> Iterator[Callable[..., System]]:
    """Whole systems that may deploy the test's images; nothing of them outlives the test."""
    made: list[System] = []

    def one(**settings: str) -> System:
        folder = tmp_path / f"system-{len(made)}"
        folder.mkdir()
        engine = {"docker_host": real_engine.host, "allowed_images": "sutazai-test/*"}
        made.append(System(folder, None, **(engine | settings)))
        return made[-1]

    yield one
    for system in made:
        system.close()
    real_engine.empty()
