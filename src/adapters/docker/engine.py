"""One Docker Engine: containers started attached, watched by its events, and surely removed."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from adapters.docker.attached import AttachedStream
from adapters.docker.child import ContainerChild
from adapters.docker.connection import Connection, Refusal
from adapters.docker.containers import Containers
from adapters.docker.creation import GENERATION, SERVER, Labels
from adapters.docker.events import Watch
from adapters.docker.images import DockerImages
from adapters.docker.sampling import Sampling
from adapters.docker.wire import Event, Listed
from domain.model.containers import (
    Container,
    ContainerNotFound,
    ContainerState,
    ContainerView,
    EngineRefused,
    EngineStatus,
    ImageNotFound,
)
from domain.model.log_tail import LogTail
from domain.model.servers import DEFAULT_LIMITS, Limits, ServerName, Usage
from domain.ports.engines import EngineUnavailable
from domain.ports.launching import LaunchFailed

STOP_GRACE = timedelta(seconds=2)
# Per step of the ladder at shutdown, as for plain processes.


class DockerEngine:
    """Drives one engine for the installation that `labels` name."""

    def __init__(
        self, name: str, host: str, labels: Labels, certificates: Path | None = None
    ) -> None:
        self._name = name
        self._labels = labels
        self._connection = Connection(name, host, certificates)
        self._containers = Containers(self._connection, labels)
        self.images = DockerImages(self._connection, labels)
        self._children: dict[str, ContainerChild] = {}
        self._sampling = Sampling(self._containers, self._children)
        self._watch = Watch(self._connection, labels, self._told, self._look_at_all)
        self._returned: Callable[[], None] = lambda: None
        self._closed = False

    @property
    def name(self) -> str:
        return self._name

    def on_return(self, callback: Callable[[], None]) -> None:
        self._returned = callback

    async def launch(
        self, name: ServerName, recipe: Container, limits: Limits = DEFAULT_LIMITS
    ) -> ContainerChild:
        if self._closed:
            raise LaunchFailed(f"{name} was not started: this system is stopping.")
        if any("\0" in text for pair in recipe.env.items() for text in pair):
            raise LaunchFailed(f"{name} was not started: its environment holds the character NUL.")
        self._watch.start()
        try:
            if recipe.pull:
                await self.images.resolve(recipe.pinned or recipe.image, pull=True)
            image = await self.images.find(recipe.pinned or recipe.image)
            by = image.config.user if image.config is not None else ""
            container_id = await self._containers.create(name, recipe, limits, image_user=by)
        except ImageNotFound as failure:
            raise LaunchFailed(
                f"{name} was not started: {failure.message}", server=name
            ) from failure
        except Refusal as refusal:
            raise _failed(name, recipe, refusal) from refusal
        try:
            return await self._attached(name, recipe, limits, container_id)
        except BaseException:
            self._children.pop(container_id, None)
            await asyncio.shield(self._containers.remove(container_id))
            raise

    async def _attached(
        self, name: ServerName, recipe: Container, limits: Limits, container_id: str
    ) -> ContainerChild:
        """Attach before the start: not one byte is missed."""
        tail = LogTail()
        try:
            response = await self._containers.attach(container_id)
            stream = AttachedStream(response, tail)
            child = ContainerChild(container_id, stream, tail, self._containers, limits)
            self._children[container_id] = child
            self._sampling.start()
            try:
                await self._containers.start(container_id)
            except BaseException:
                await asyncio.shield(child.give_up())
                raise
        except Refusal as refusal:
            raise _failed(name, recipe, refusal) from refusal
        child.on_gone(lambda: self._children.pop(container_id, None))
        return child

    async def sweep(self) -> int:
        old = [
            each
            for each in await self._containers.list()
            if each.labels.get(GENERATION) != self._labels.generation
        ]
        await asyncio.gather(*(self._containers.remove(each.id) for each in old))
        return len(old)

    async def status(self) -> EngineStatus:
        begun = time.perf_counter()
        version = await self._connection.negotiate()
        probe_ms = (time.perf_counter() - begun) * 1000
        info = await self._containers.info()
        views = await self.containers()
        return EngineStatus(
            name=self._name,
            version=version.version,
            api_version=version.api_version,
            cpus=info.cpus,
            memory_bytes=info.mem_total,
            claimed_bytes=sum(view.memory_bytes for view in views),
            containers=len(views),
            probe_ms=round(probe_ms, 3),
        )

    async def containers(self) -> tuple[ContainerView, ...]:
        listed = await self._containers.list()
        limits = await asyncio.gather(*(self._containers.limits(each.id) for each in listed))
        views = (
            self._view(each, limit)
            for each, limit in zip(listed, limits, strict=True)
            if limit is not None
        )
        return tuple(sorted(views, key=lambda view: (view.server, view.container_id)))

    async def usage(self, container_id: str) -> Usage:
        child = self._own(container_id)
        usage = await self._containers.usage(child.container_id)
        seen = child.usage
        output = 0.0 if seen is None else seen.output_mb_per_s
        return msgspec.structs.replace(usage, output_mb_per_s=output)

    async def logs(self, container_id: str, tail: int) -> AsyncGenerator[str, None]:
        async for line in self._own(container_id).logs(tail):
            yield line

    async def aclose(self, grace: timedelta = STOP_GRACE) -> None:
        """End all containers, side by side; nothing is started after this."""
        self._closed = True
        await asyncio.gather(*(child.end(grace) for child in tuple(self._children.values())))
        await self._watch.stop()
        await self._sampling.stop()
        await self._containers.aclose()
        await self._connection.aclose()

    def _own(self, container_id: str) -> ContainerChild:
        child = self._children.get(container_id)
        if child is None:
            raise ContainerNotFound(
                f"There is no container {container_id!r}.", container_id=container_id
            )
        return child

    def _view(self, each: Listed, limit: tuple[int, float, int]) -> ContainerView:
        memory_bytes, cpus, processes = limit
        return ContainerView(
            container_id=each.id,
            engine=self._name,
            server=each.labels.get(SERVER, ""),
            image=each.image,
            state=msgspec.convert(each.state, ContainerState),
            status=each.status,
            created_at=datetime.fromtimestamp(each.created, UTC),
            memory_bytes=memory_bytes,
            cpus=cpus,
            processes=processes,
        )

    def _told(self, event: Event) -> None:
        child = self._children.get(event.actor.id)
        if child is None:
            return
        if event.action == "oom":
            child.out_of_memory = True
        elif event.action == "die":
            code = event.actor.attributes.get("exitCode", "")
            child.died(int(code) if code.isdigit() else 0)

    async def _look_at_all(self) -> None:
        """After a gap in the events: who died in it was not told."""
        for container_id, child in tuple(self._children.items()):
            try:
                state = await self._containers.state(container_id)
            except (EngineUnavailable, EngineRefused):
                return
            if state is None:
                child.lost("its container was removed")
            elif not state.running:
                child.out_of_memory = child.out_of_memory or state.oom_killed
                child.died(state.exit_code)
        await self._containers.remove_late()
        self._returned()


def _failed(name: ServerName, recipe: Container, refusal: Refusal) -> LaunchFailed:
    words = refusal.words
    for value in recipe.env.values():
        words = words.replace(value, "***") if value else words
    return LaunchFailed(f"{name} was not started from {recipe.image!r}: {words}", server=name)
