"""Servers deployed as containers, and what their engines say."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from datetime import timedelta
from fnmatch import fnmatchcase

import msgspec

from domain.errors import Failure, Invalid
from domain.model.callers import Caller, Scope
from domain.model.containers import (
    ANY_ENGINE,
    Blueprint,
    Container,
    ContainerNotFound,
    ContainerView,
    EngineNotFound,
    EngineStatus,
    ImageNotAllowed,
    Mount,
)
from domain.model.keys import Once
from domain.model.servers import ServerName, ServerNotFound, ServerRecord, ServerSpec, Usage
from domain.orchestration.placement import MB, chosen, engine_named
from domain.orchestration.service import McpService
from domain.ports.engines import ContainerEngine, EngineUnavailable

BUILD_TIME = timedelta(minutes=15)
# Hundreds of packages, some compiled, on a slow line.


class LimitsTooHigh(Invalid):
    """The container may use more than any engine's machine has."""


class MountNotAllowed(Invalid):
    """No mount of this name was allowed by an administrator."""


class DeployRules(msgspec.Struct, frozen=True, kw_only=True):
    """What may be deployed: images by patterns (`ghcr.io/acme/*`), folders by a mount's name."""

    images: tuple[str, ...] = ()
    mounts: Mapping[str, Mount] = msgspec.field(default_factory=dict)


class EngineView(msgspec.Struct, frozen=True, kw_only=True):
    """One engine: what it answered, or why it did not."""

    name: str
    status: EngineStatus | None
    reason: str
    containers: tuple[ContainerView, ...] = ()


class ContainerService:
    """Deploys, and looks at engines; the servers themselves are McpService's like all others."""

    def __init__(
        self, mcp: McpService, engines: Mapping[str, ContainerEngine], rules: DeployRules
    ) -> None:
        self._mcp = mcp
        self._engines = engines
        self._rules = rules

    async def deploy(
        self,
        caller: Caller,
        spec: ServerSpec,
        mounts: tuple[str, ...] = (),
        blueprint: Blueprint | None = None,
        once: Once | None = None,
    ) -> ServerRecord:
        """Keep a new server in a container, its image pinned to what it means now; begin it.

        With a `blueprint` the image is built first. It runs code: ADMIN.

        Raises:
            ImageNotAllowed, MountNotAllowed, LimitsTooHigh, EngineNotFound, BuildFailed,
            ImageNotFound, EngineUnavailable, ServerExists: nothing is kept.
        """
        caller.require(Scope.ADMIN)
        recipe = spec.recipe
        assert isinstance(recipe, Container)  # noqa: S101 - its caller made it
        self._check_image(blueprint.base if blueprint is not None else recipe.image)
        if once is None:
            self._mcp.require_free(spec.name)  # before minutes are spent on an image
        engine = await self._fitting(recipe, spec)
        if blueprint is not None:
            pinned = await engine.images.build(blueprint, spec.limits, BUILD_TIME)
        else:
            pinned = await engine.images.resolve(recipe.image, pull=True)
        # What has a digest any engine can get; an image known by its id is on this one alone.
        everywhere = "@" in pinned
        recipe = msgspec.structs.replace(
            recipe,
            pinned=pinned,
            pull=everywhere,
            engine=recipe.engine if everywhere else engine.name,
            mounts=self._mounts(mounts),
        )
        return await self._mcp.add(caller, msgspec.structs.replace(spec, recipe=recipe), once)

    async def remove(self, caller: Caller, name: ServerName) -> None:
        """End a deployed server and forget it; on return its container is gone.

        Raises ServerNotFound.
        """
        caller.require(Scope.ADMIN)
        if not isinstance(self._mcp.record(name).spec.recipe, Container):
            raise ServerNotFound(f"There is no deployed server {name!r}.", server=name)
        await self._mcp.remove(caller, name)

    async def engines(self, caller: Caller) -> tuple[EngineView, ...]:
        """All engines by name, asked now, each on its own."""
        caller.require(Scope.READ)
        names = sorted(self._engines)
        return tuple(await asyncio.gather(*(_look(self._engines[name]) for name in names)))

    async def usage(self, caller: Caller, container_id: str) -> Usage:
        """Raises ContainerNotFound, EngineUnavailable."""
        caller.require(Scope.READ)
        return await (await self._holding(container_id)).usage(container_id)

    async def logs(self, caller: Caller, container_id: str, tail: int) -> AsyncGenerator[str, None]:
        """Lines of diagnostics until the container's end. Raises ContainerNotFound."""
        caller.require(Scope.READ)
        return (await self._holding(container_id)).logs(container_id, tail)

    async def _holding(self, container_id: str) -> ContainerEngine:
        for engine in self._engines.values():
            try:
                views = await engine.containers()
            except EngineUnavailable:
                continue
            if any(view.container_id == container_id for view in views):
                return engine
        raise ContainerNotFound(
            f"There is no container {container_id!r}.", container_id=container_id
        )

    def _check_image(self, image: str) -> None:
        if not any(fnmatchcase(image, pattern) for pattern in self._rules.images):
            raise ImageNotAllowed(
                f"The image {image!r} is not on the list of SUTAZAI_ALLOWED_IMAGES.", image=image
            )

    def _mounts(self, names: tuple[str, ...]) -> tuple[Mount, ...]:
        for name in names:
            if name not in self._rules.mounts:
                raise MountNotAllowed(f"There is no mount {name!r}.", mount=name)
        return tuple(self._rules.mounts[name] for name in names)

    async def _fitting(self, recipe: Container, spec: ServerSpec) -> ContainerEngine:
        """Of those that answer and whose machine has what the limits allow, the one with room."""
        if not self._engines:
            raise EngineNotFound("No container engine is configured (SUTAZAI_DOCKER_HOST).")
        names = sorted(self._engines)
        if recipe.engine != ANY_ENGINE:
            names = [engine_named(self._engines, recipe.engine).name]
        needed, processors = (spec.limits.memory_mb or 0) * MB, (spec.limits.cpu_percent or 0) / 100
        most, failure = 0, EngineUnavailable("None of the container engines answers.")
        fitting: list[EngineStatus] = []
        for name in names:
            try:
                status = await self._engines[name].status()
            except EngineUnavailable as error:
                failure = error
                continue
            most = max(most, status.memory_bytes)
            if needed <= status.memory_bytes and processors <= status.cpus:
                fitting.append(status)
        if fitting:
            return self._engines[(chosen(fitting, needed) or fitting[0]).name]
        if not most:
            raise failure
        raise LimitsTooHigh(
            f"memory_mb and cpu_percent go over what the engine's machine has: {most // MB} MB.",
            path="/limits",
        )


async def _look(engine: ContainerEngine) -> EngineView:
    try:
        status, containers = await asyncio.gather(engine.status(), engine.containers())
    except Failure as failure:
        return EngineView(name=engine.name, status=None, reason=failure.message)
    return EngineView(name=engine.name, status=status, reason="", containers=containers)
