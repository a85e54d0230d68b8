"""A container engine whose containers are functions of this program."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Mapping
from datetime import timedelta

import msgspec

from adapters.inmemory.launcher import MemoryChild, Program
from domain.model.containers import (
    Blueprint,
    BuildFailed,
    Container,
    ContainerNotFound,
    ContainerState,
    ContainerView,
    EngineStatus,
    ImageNotFound,
)
from domain.model.servers import DEFAULT_LIMITS, Command, Limits, ServerName, Usage
from domain.ports.engines import EngineUnavailable
from domain.ports.launching import LaunchFailed
from domain.ports.system import Clock

MB = 1_000_000
MEMORY_MB, PROCESSES, CPU_PERCENT = 2048, 128, 100.0
# What a container may use where its server's limits say None.
LOG_LOOK_S = 0.25


class MemoryImages:
    """Images by name; what they mean is a digest of it. `registry` holds those to be pulled."""

    def __init__(
        self, programs: Mapping[str, Program], registry: Mapping[str, Program] | None = None
    ) -> None:
        self.programs = dict(programs)
        self._registry = dict(registry or {})
        self.down = False

    async def resolve(self, image: str, *, pull: bool) -> str:
        self.check()
        if image not in self.programs and pull and image in self._registry:
            self.programs[image] = self._registry[image]
        if image not in self.programs:
            raise ImageNotFound(f"There is no image {image!r}.", image=image)
        return id_of(image)

    async def build(self, blueprint: Blueprint, limits: Limits, longest: timedelta) -> str:  # noqa: ARG002 - it takes no time and uses nothing
        """An image that runs as its base does."""
        self.check()
        program = self.find(blueprint.base)
        if program is None:
            raise BuildFailed(f"The image {blueprint.image!r} could not be built: no base.")
        self.programs[blueprint.image] = program
        return id_of(blueprint.image)

    def find(self, image: str) -> Program | None:
        """By name or by what a name means."""
        by_id = {id_of(name): program for name, program in self.programs.items()}
        return self.programs.get(image) or by_id.get(image)

    def check(self) -> None:
        """Raises EngineUnavailable while the engine is down."""
        if self.down:
            raise EngineUnavailable("The engine cannot be reached.")


def id_of(image: str) -> str:
    """What an image's name means."""
    return f"sha256:{hashlib.sha256(image.encode()).hexdigest()}"


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    child: MemoryChild
    view: ContainerView


class MemoryEngine:
    """Runs programs by their image's name. `go_down` ends them, as an engine's end does."""

    def __init__(
        self, name: str, images: MemoryImages, clock: Clock, memory_bytes: int = 8_000_000_000
    ) -> None:
        self._name = name
        self._images = images
        self._clock = clock
        self._memory_bytes = memory_bytes
        self._kept: dict[str, _Kept] = {}
        self._count = 0
        self._returned: Callable[[], None] = lambda: None

    @property
    def name(self) -> str:
        return self._name

    @property
    def images(self) -> MemoryImages:
        return self._images

    def on_return(self, callback: Callable[[], None]) -> None:
        self._returned = callback

    async def launch(
        self, name: ServerName, recipe: Container, limits: Limits = DEFAULT_LIMITS
    ) -> MemoryChild:
        self._images.check()
        program = self._images.find(recipe.pinned or recipe.image)
        if program is None:
            raise LaunchFailed(
                f"{name} was not started: There is no image {recipe.image!r}.", server=name
            )
        child = MemoryChild(program, Command(command=recipe.image, env=recipe.env), limits)
        self._count += 1
        view = self._view(f"{self._name}-{self._count}", name, recipe, limits)
        self._kept[view.container_id] = _Kept(child=child, view=view)
        return child

    def _view(
        self, container_id: str, name: ServerName, recipe: Container, limits: Limits
    ) -> ContainerView:
        return ContainerView(
            container_id=container_id,
            engine=self._name,
            server=name,
            image=recipe.image,
            state=ContainerState.RUNNING,
            status="Up",
            created_at=self._clock.now(),
            memory_bytes=(limits.memory_mb or MEMORY_MB) * MB,
            cpus=(limits.cpu_percent or CPU_PERCENT) / 100,
            processes=limits.processes or PROCESSES,
        )

    async def sweep(self) -> int:
        """Nothing outlives the program it runs in."""
        self._images.check()
        return 0

    async def status(self) -> EngineStatus:
        views = await self.containers()
        return EngineStatus(
            name=self._name,
            version="memory",
            api_version="0",
            cpus=1,
            memory_bytes=self._memory_bytes,
            claimed_bytes=sum(view.memory_bytes for view in views),
            containers=len(views),
            probe_ms=0.0,
        )

    async def containers(self) -> tuple[ContainerView, ...]:
        self._images.check()
        ended = [key for key, kept in self._kept.items() if kept.child.gone]
        for key in ended:
            del self._kept[key]
        views = (kept.view for kept in self._kept.values())
        return tuple(sorted(views, key=lambda view: (view.server, view.container_id)))

    async def usage(self, container_id: str) -> Usage:
        self._images.check()
        self._found(container_id)
        return Usage(memory_bytes=0, processes=1, cpu_percent=0.0)

    async def logs(self, container_id: str, tail: int) -> AsyncGenerator[str, None]:
        child = self._found(container_id).child
        told = 0
        while True:
            over = child.gone
            lines = child.log_tail()[told:] if told else child.log_tail()[-tail:]
            told = len(child.log_tail())
            for line in lines:
                yield line
            if over:
                return
            await asyncio.sleep(LOG_LOOK_S)

    def go_down(self) -> None:
        """Be away from now on, and end all containers."""
        self._images.down = True
        for kept in self._kept.values():
            kept.child.kill()

    def come_back(self) -> None:
        """Answer again."""
        self._images.down = False
        self._returned()

    async def aclose(self, grace: timedelta = timedelta(0)) -> None:
        """End all containers, side by side."""
        await asyncio.gather(*(kept.child.end(grace) for kept in self._kept.values()))

    def _found(self, container_id: str) -> _Kept:
        kept = self._kept.get(container_id)
        if kept is None:
            raise ContainerNotFound(
                f"There is no container {container_id!r}.", container_id=container_id
            )
        return kept
