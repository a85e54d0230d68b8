"""The in-memory engine keeps the contract of the real one."""

from collections.abc import AsyncIterator

import pytest

from adapters.inmemory.engine import MemoryEngine, MemoryImages
from adapters.inmemory.system import ManualClock
from domain.model.containers import Container
from tests.contracts.engines import EngineContract, EngineWorld
from tests.processes.test_contract import ROLES

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class TestMemoryEngine(EngineContract):
    @pytest.fixture
    async def engine(self) -> AsyncIterator[MemoryEngine]:
        engine = MemoryEngine("twin", MemoryImages(ROLES), ManualClock())
        yield engine
        await engine.aclose()

    @pytest.fixture
    def world(self, engine: MemoryEngine) -> EngineWorld:
        async def go_down() -> None:
            engine.go_down()

        async def come_back() -> None:
            engine.come_back()

        return EngineWorld(
            recipe=lambda role: Container(image=role), go_down=go_down, come_back=come_back
        )
