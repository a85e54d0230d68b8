"""What every container engine does, the real one and the twin.

A binding gives the fixtures `engine` and `world`; the latter names images by role (`echo`,
`leaver`, `missing`), and lets the engine go away and come back.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import msgspec
import pytest

from domain.model.containers import (
    Blueprint,
    BuildFailed,
    Container,
    ContainerNotFound,
    ContainerState,
    ImageNotFound,
)
from domain.model.servers import Limits, ServerName
from domain.ports.engines import ContainerEngine, EngineUnavailable
from domain.ports.launching import Exit, LaunchFailed
from tests.contracts.launching import LONG, read_exactly

NAME = ServerName("boxed")
MINUTE = timedelta(minutes=1)


class EngineWorld(msgspec.Struct, frozen=True, kw_only=True):
    """What a binding knows of its engine."""

    recipe: Callable[[str], Container]
    go_down: Callable[[], Awaitable[None]]
    come_back: Callable[[], Awaitable[None]]


class EngineContract:
    """Bind it by a subclass with the two fixtures."""

    async def test_a_container_is_listed_with_the_limits_in_force(
        self, engine: ContainerEngine, world: EngineWorld
    ) -> None:
        limits = Limits(memory_mb=64, processes=16, cpu_percent=50)
        child = await engine.launch(NAME, world.recipe("echo"), limits)
        (view,) = await engine.containers()
        assert (view.server, view.engine, view.state) == (
            NAME,
            engine.name,
            ContainerState.RUNNING,
        )
        assert (view.memory_bytes, view.cpus, view.processes) == (64_000_000, 0.5, 16)
        status = await engine.status()
        assert (status.containers, status.claimed_bytes) == (1, 64_000_000)
        await child.end(LONG)
        assert await engine.containers() == ()

    async def test_limits_are_set_where_a_server_names_none(
        self, engine: ContainerEngine, world: EngineWorld
    ) -> None:
        limits = Limits(memory_mb=None, processes=None, cpu_percent=None)
        child = await engine.launch(NAME, world.recipe("echo"), limits)
        (view,) = await engine.containers()
        assert min(view.memory_bytes, view.cpus, view.processes) > 0
        await child.end(LONG)

    async def test_a_sweep_spares_the_present_life(
        self, engine: ContainerEngine, world: EngineWorld
    ) -> None:
        child = await engine.launch(NAME, world.recipe("echo"))
        assert await engine.sweep() == 0
        await child.stream.write(b"alive")
        assert await read_exactly(child.stream, 5) == b"alive"
        await child.end(LONG)

    async def test_an_image_means_the_same_until_it_changes(
        self, engine: ContainerEngine, world: EngineWorld
    ) -> None:
        recipe = world.recipe("leaver")
        pinned = await engine.images.resolve(recipe.image, pull=False)
        assert pinned == await engine.images.resolve(recipe.image, pull=True)
        assert "sha256:" in pinned
        child = await engine.launch(NAME, msgspec.structs.replace(recipe, pinned=pinned))
        assert await child.wait() == Exit(code=3)
        await child.end(LONG)

    async def test_a_missing_image_is_named_and_nothing_is_left(
        self, engine: ContainerEngine, world: EngineWorld
    ) -> None:
        recipe = world.recipe("missing")
        with pytest.raises(ImageNotFound, match=recipe.image):
            await engine.images.resolve(recipe.image, pull=False)
        with pytest.raises(LaunchFailed, match=recipe.image):
            await engine.launch(NAME, recipe)
        assert await engine.containers() == ()

    async def test_a_build_on_a_missing_base_fails(
        self, engine: ContainerEngine, world: EngineWorld
    ) -> None:
        base = world.recipe("missing").image
        blueprint = Blueprint(image="sutazai/broken:1", base=base, steps=(), command=("true",))
        with pytest.raises(BuildFailed, match="sutazai/broken:1"):
            await engine.images.build(blueprint, Limits(), MINUTE)

    async def test_unknown_containers_are_not_found(self, engine: ContainerEngine) -> None:
        with pytest.raises(ContainerNotFound):
            await engine.usage("0" * 64)
        with pytest.raises(ContainerNotFound):
            await anext(engine.logs("0" * 64, 10))

    async def test_an_engine_that_is_away_says_so_and_its_containers_end(
        self, engine: ContainerEngine, world: EngineWorld
    ) -> None:
        child = await engine.launch(NAME, world.recipe("echo"))
        await world.go_down()
        with pytest.raises(EngineUnavailable):
            await engine.status()
        with pytest.raises(EngineUnavailable):
            await engine.launch(NAME, world.recipe("echo"))
        assert await child.stream.read() == b""
        await child.wait()
        await child.end(LONG)
        await world.come_back()
        again = await engine.launch(NAME, world.recipe("echo"))
        await again.stream.write(b"back")
        assert await read_exactly(again.stream, 4) == b"back"
        await again.end(LONG)
