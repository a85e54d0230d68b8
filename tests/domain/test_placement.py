"""Which of several engines a container goes to."""

from datetime import timedelta

import pytest

from adapters.inmemory.engine import MemoryEngine, MemoryImages
from adapters.inmemory.launcher import Peer
from adapters.inmemory.system import ManualClock
from domain.model.containers import Container, EngineNotFound, EngineStatus
from domain.model.servers import Limits, ServerName
from domain.orchestration.placement import NoRoom, PlacedLauncher, chosen
from domain.ports.engines import EngineUnavailable

pytestmark = pytest.mark.anyio

GB = 1_000_000_000
BOX = Container(image="box:1")
NAME = ServerName("boxed")
HALF_GB = Limits(memory_mb=500)


def status(name: str, free_gb: float, containers: int = 0) -> EngineStatus:
    return EngineStatus(
        name=name,
        version="1",
        api_version="1.41",
        cpus=1,
        memory_bytes=round(10 * GB),
        claimed_bytes=round((10 - free_gb) * GB),
        containers=containers,
        probe_ms=0.0,
    )


async def stay(peer: Peer) -> int:
    while await peer.read():
        pass
    return 0


def engine(name: str, memory_gb: float) -> MemoryEngine:
    images = MemoryImages({"box:1": stay})
    return MemoryEngine(name, images, ManualClock(), round(memory_gb * GB))


def names(best: EngineStatus | None) -> str | None:
    return None if best is None else best.name


def test_the_most_memory_that_nobody_claims_wins_then_the_fewest_containers_then_the_name() -> None:
    assert names(chosen([status("a", 2), status("b", 3)], GB)) == "b"
    assert names(chosen([status("a", 2, 5), status("b", 2, 1)], GB)) == "b"
    assert names(chosen([status("b", 2), status("a", 2)], GB)) == "a"
    assert chosen([status("a", 2), status("b", 0.5)], 3 * GB) is None
    assert chosen([], 0) is None


async def test_containers_spread_over_engines_by_what_is_left() -> None:
    engines = {"a": engine("a", 2), "b": engine("b", 1.2)}
    launcher = PlacedLauncher(engines)
    for _ in range(6):
        await launcher.launch(NAME, BOX, HALF_GB)
    counts = {name: len(await each.containers()) for name, each in engines.items()}
    assert counts == {"a": 4, "b": 2}
    with pytest.raises(NoRoom, match="500 MB"):
        await launcher.launch(NAME, BOX, HALF_GB)
    for each in engines.values():
        await each.aclose(timedelta())


async def test_an_engine_that_is_away_is_passed_over_and_none_at_all_is_told() -> None:
    engines = {"a": engine("a", 4), "b": engine("b", 2)}
    launcher = PlacedLauncher(engines)
    engines["a"].go_down()
    await launcher.launch(NAME, BOX, HALF_GB)
    assert len(await engines["b"].containers()) == 1
    engines["b"].go_down()
    with pytest.raises(EngineUnavailable, match="None of the container engines"):
        await launcher.launch(NAME, BOX, HALF_GB)
    for each in engines.values():
        await each.aclose(timedelta())


async def test_a_named_engine_is_taken_whatever_it_has_and_an_unknown_one_is_refused() -> None:
    engines = {"a": engine("a", 4), "b": engine("b", 1)}
    launcher = PlacedLauncher(engines)
    named = Container(image="box:1", engine="b")
    await launcher.launch(NAME, named, HALF_GB)
    assert len(await engines["b"].containers()) == 1
    with pytest.raises(EngineNotFound, match="known: a, b"):
        await launcher.launch(NAME, Container(image="box:1", engine="c"))
    with pytest.raises(EngineNotFound, match="SUTAZAI_DOCKER_HOST"):
        await PlacedLauncher({}).launch(NAME, BOX)
    for each in engines.values():
        await each.aclose(timedelta())


async def test_an_engine_is_swept_once_and_before_its_first_container(
    caplog: pytest.LogCaptureFixture,
) -> None:
    swept: list[str] = []

    class Swept(MemoryEngine):
        async def sweep(self) -> int:
            self.images.check()
            swept.append(self.name)
            return 1

    here = Swept("a", MemoryImages({"box:1": stay}), ManualClock())
    launcher = PlacedLauncher({"a": here})
    here.go_down()
    assert await launcher.sweep() == 0
    assert "cannot be reached" in caplog.text
    here.come_back()
    await launcher.launch(NAME, BOX)
    await launcher.launch(NAME, BOX)
    assert await launcher.sweep() == 0
    assert swept == ["a"]
    await here.aclose(timedelta())
