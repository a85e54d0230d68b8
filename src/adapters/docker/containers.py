"""Requests about containers, each one act on the engine that may be repeated."""

import asyncio
import logging
import secrets
from datetime import timedelta
from math import ceil

import httpx

from adapters.docker.connection import LONG_S, Connection, Refusal
from adapters.docker.creation import NOBODY, Labels, body_of
from adapters.docker.wire import Created, Info, Inspected, Listed, State, Stats
from domain.model.containers import Container, ContainerNotFound
from domain.model.servers import Limits, ServerName, Usage
from domain.ports.engines import EngineUnavailable

SAMPLE_S = 1.0
LATE_S = 2.0
# What could not be removed is tried again this often, until the engine is back.
ATTACH = {"stream": 1, "stdin": 1, "stdout": 1, "stderr": 1}
_NOT_MODIFIED, _NOT_FOUND, _CONFLICT = 304, 404, 409

logger = logging.getLogger(__name__)


class Containers:
    """The containers of one engine that carry these labels."""

    def __init__(self, connection: Connection, labels: Labels) -> None:
        self._connection = connection
        self._labels = labels
        self._late: set[str] = set()
        self._removing: asyncio.Task[None] | None = None

    async def aclose(self) -> None:
        """Try once more to remove what could not be, then never again."""
        if self._removing is not None:
            self._removing.cancel()
            await asyncio.wait({self._removing})
        await self.remove_late()

    async def create(
        self, name: ServerName, recipe: Container, limits: Limits, image_user: str
    ) -> str:
        """A container that does not run yet; its id."""
        user = recipe.user or image_user or NOBODY
        body = body_of(recipe, limits, self._labels.of(name), user=user, init=True)
        called = f"sutazai-{name}-{secrets.token_hex(6)}"
        try:
            created = await self._connection.ask(
                "POST",
                "/containers/create",
                Created,
                query={"name": called},
                body=body,
                timeout_s=LONG_S,
            )
        except BaseException as failure:
            if not isinstance(failure.__cause__, httpx.ConnectError | httpx.ConnectTimeout):
                # It may have been made: its name is all that is known of it.
                await asyncio.shield(self.remove(called))
            raise
        return created.id

    async def attach(self, container_id: str) -> httpx.Response:
        """Its three streams over one connection."""
        return await self._connection.attach(f"/containers/{container_id}/attach", ATTACH)

    async def start(self, container_id: str) -> None:
        """Let it run."""
        path = f"/containers/{container_id}/start"
        await self._connection.order("POST", path, timeout_s=LONG_S)

    async def kill(self, container_id: str) -> None:
        """End it at once, if it runs. Raises EngineUnavailable."""
        try:
            await self._connection.order("POST", f"/containers/{container_id}/kill")
        except Refusal as refusal:
            if refusal.status not in {_CONFLICT, _NOT_FOUND}:
                raise

    async def stop(self, container_id: str, grace: timedelta) -> None:
        """Its stop signal, and after `grace`, in whole seconds, the end."""
        seconds = max(1, ceil(grace.total_seconds()))
        try:
            await self._connection.order(
                "POST",
                f"/containers/{container_id}/stop",
                query={"t": seconds},
                timeout_s=seconds + LATE_S,
            )
        except Refusal as refusal:
            if refusal.status not in {_NOT_MODIFIED, _NOT_FOUND}:
                raise

    async def remove(self, container_id: str) -> None:
        """Kill and remove it; where the engine cannot now, as soon as it can."""
        try:
            await self._remove(container_id)
        except (EngineUnavailable, Refusal) as failure:
            logger.warning("container %s is left for now: %s", container_id[:12], failure.message)
            self._late.add(container_id)
            if self._removing is None or self._removing.done():
                self._removing = asyncio.create_task(self._remove_later())

    async def _remove(self, container_id: str) -> None:
        try:
            await self._connection.order(
                "DELETE", f"/containers/{container_id}", query={"force": 1, "v": 1}
            )
        except Refusal as refusal:
            # It is gone, or is being removed by an earlier wish.
            if refusal.status not in {_NOT_FOUND, _CONFLICT}:
                raise
        self._late.discard(container_id)

    async def _remove_later(self) -> None:
        while self._late:
            await asyncio.sleep(LATE_S)
            await self.remove_late()

    async def remove_late(self) -> None:
        """Try again to remove what could not be."""
        for container_id in tuple(self._late):
            try:
                await self._remove(container_id)
            except (EngineUnavailable, Refusal):
                return

    async def list(self) -> tuple[Listed, ...]:
        """All of them, running or not."""
        filters = f'{{"label":["{self._labels.own}"]}}'
        return await self._connection.ask(
            "GET", "/containers/json", tuple[Listed, ...], query={"all": 1, "filters": filters}
        )

    async def info(self) -> Info:
        """The engine's machine."""
        return await self._connection.ask("GET", "/info", Info)

    async def state(self, container_id: str) -> State | None:
        """How it is; None where it is no more."""
        inspected = await self._inspected(container_id)
        return None if inspected is None else inspected.state

    async def limits(self, container_id: str) -> tuple[int, float, int] | None:
        """Bytes of memory, processors and processes that the engine lets it use."""
        inspected = await self._inspected(container_id)
        if inspected is None:
            return None
        limits = inspected.host_config
        return limits.memory, limits.nano_cpus / 1e9, limits.pids_limit or 0

    async def _inspected(self, container_id: str) -> Inspected | None:
        try:
            return await self._connection.ask("GET", f"/containers/{container_id}/json", Inspected)
        except Refusal as refusal:
            if refusal.status == _NOT_FOUND:
                return None
            raise

    async def usage(self, container_id: str) -> Usage:
        """Two samples a second apart: a rate needs both. Raises ContainerNotFound."""
        first = await self.sample(container_id)
        await asyncio.sleep(SAMPLE_S)
        second = await self.sample(container_id)
        spent = second.cpu_stats.cpu_usage.total_usage - first.cpu_stats.cpu_usage.total_usage
        return Usage(
            memory_bytes=second.memory_bytes,
            processes=second.pids_stats.current,
            cpu_percent=round(max(0, spent) / (SAMPLE_S * 1e9) * 100, 1),
        )

    async def sample(self, container_id: str) -> Stats:
        """What it uses now. Raises ContainerNotFound, EngineUnavailable, EngineRefused."""
        query = {"stream": "false", "one-shot": "true"}
        try:
            return await self._connection.ask(
                "GET", f"/containers/{container_id}/stats", Stats, query=query
            )
        except Refusal as refusal:
            if refusal.status == _NOT_FOUND:
                raise ContainerNotFound(
                    f"There is no container {container_id!r}.", container_id=container_id
                ) from refusal
            raise
