"""One real engine for all tests of containers; where none can start they fail, they never skip."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from adapters.docker.creation import Labels
from adapters.docker.engine import DockerEngine
from tests.real.engine import BOX, Engine, box_tar


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
