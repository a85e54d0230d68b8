"""Which engine a container goes to, and starting it there."""

import asyncio
import logging
from collections.abc import Mapping, Sequence

from domain.model.containers import ANY_ENGINE, Container, EngineNotFound, EngineStatus
from domain.model.servers import DEFAULT_LIMITS, Limits, ServerName
from domain.ports.engines import ContainerEngine, EngineUnavailable
from domain.ports.launching import Child

MB = 1_000_000

logger = logging.getLogger(__name__)


class NoRoom(EngineUnavailable):
    """No engine that answers has the memory that the container may use."""


def chosen(answering: Sequence[EngineStatus], needed_bytes: int) -> EngineStatus | None:
    """The engine with the most memory that no limit claims, then with the fewest containers.

    None where the container fits in none.
    """
    fitting = [each for each in answering if _free(each) >= needed_bytes]
    return min(fitting, key=lambda each: (-_free(each), each.containers, each.name), default=None)


def _free(status: EngineStatus) -> int:
    return status.memory_bytes - status.claimed_bytes


class PlacedLauncher:
    """Starts containers on the engine that a recipe names, or on the one with the most room.

    An engine's leftovers are removed before anything is started there, as soon as it answers.
    """

    def __init__(self, engines: Mapping[str, ContainerEngine]) -> None:
        self._engines = engines
        self._swept: set[str] = set()

    async def launch(
        self, name: ServerName, recipe: Container, limits: Limits = DEFAULT_LIMITS
    ) -> Child:
        engine = await self._engine_for(recipe, limits)
        await self._sweep(engine)
        return await engine.launch(name, recipe, limits)

    async def sweep(self) -> int:
        """Of the engines that answer; the others are swept before their first container."""
        done = await asyncio.gather(*map(self._try_sweep, self._engines.values()))
        return sum(done)

    async def _try_sweep(self, engine: ContainerEngine) -> int:
        try:
            return await self._sweep(engine)
        except EngineUnavailable as failure:
            logger.warning("%s", failure.message)
            return 0

    async def _sweep(self, engine: ContainerEngine) -> int:
        if engine.name in self._swept:
            return 0
        removed = await engine.sweep()
        self._swept.add(engine.name)
        if removed:
            logger.info("engine %s: removed %d old containers", engine.name, removed)
        return removed

    async def _engine_for(self, recipe: Container, limits: Limits) -> ContainerEngine:
        if recipe.engine != ANY_ENGINE:
            return engine_named(self._engines, recipe.engine)
        if len(self._engines) == 1:
            return next(iter(self._engines.values()))
        if not self._engines:
            raise EngineNotFound("No container engine is configured (SUTAZAI_DOCKER_HOST).")
        looks = await asyncio.gather(
            *(engine.status() for engine in self._engines.values()), return_exceptions=True
        )
        answering = [look for look in looks if isinstance(look, EngineStatus)]
        failures = [look for look in looks if isinstance(look, BaseException)]
        for failure in failures:
            if not isinstance(failure, EngineUnavailable):
                raise failure
        if not answering:
            raise EngineUnavailable("None of the container engines answers.")
        best = chosen(answering, (limits.memory_mb or 0) * MB)
        if best is None:
            raise NoRoom(f"No engine has {limits.memory_mb} MB left that nobody claims.")
        return self._engines[best.name]


def engine_named(engines: Mapping[str, ContainerEngine], name: str) -> ContainerEngine:
    """Raises EngineNotFound."""
    engine = engines.get(name)
    if engine is None:
        known = ", ".join(sorted(engines)) or "none"
        raise EngineNotFound(f"There is no engine {name!r}; known: {known}.", engine=name)
    return engine
