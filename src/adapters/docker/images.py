"""Images of an engine: what a name means, and getting one that is not there."""

import asyncio
from datetime import timedelta
from urllib.parse import quote

from adapters.docker.build import build
from adapters.docker.connection import Connection, Refusal, progress
from adapters.docker.creation import Labels
from adapters.docker.wire import Image
from domain.model.containers import Blueprint, ImageNotFound
from domain.model.servers import Limits

PULL_S = 600.0
# A gigabyte over a slow line.
_NOT_FOUND = 404


class DockerImages:
    """The images of one engine."""

    def __init__(self, connection: Connection, labels: Labels) -> None:
        self._connection = connection
        self._labels = labels

    async def find(self, name: str) -> Image:
        """Raises ImageNotFound, EngineUnavailable."""
        try:
            return await self._connection.ask(
                "GET", f"/images/{quote(name, safe='/:@')}/json", Image
            )
        except Refusal as refusal:
            if refusal.status == _NOT_FOUND:
                raise ImageNotFound(f"There is no image {name!r}.", image=name) from refusal
            raise

    async def resolve(self, image: str, *, pull: bool) -> str:
        name = image
        try:
            found = await self.find(name)
        except ImageNotFound:
            if not pull:
                raise
            await self.pull(name)
            found = await self.find(name)
        digests = found.repo_digests or ()
        own = [each for each in digests if each.partition("@")[0] == _parts(name)[0]]
        return (own or digests or (found.id,))[0]

    async def build(self, blueprint: Blueprint, limits: Limits, longest: timedelta) -> str:
        return await build(self._connection, blueprint, self._labels, limits, longest)

    async def pull(self, name: str) -> None:
        """Get an image from its registry. Raises ImageNotFound with the engine's own words."""
        repository, tag = _parts(name)
        query = (
            {"fromImage": name}
            if "@" in name
            else {"fromImage": repository, "tag": tag or "latest"}
        )
        try:
            async with asyncio.timeout(PULL_S):
                async with self._connection.stream("POST", "/images/create", query=query) as answer:
                    async for step in progress(answer):
                        if step.error:
                            raise ImageNotFound(_missing(name, step.error), image=name)
        except TimeoutError:
            raise ImageNotFound(_missing(name, f"no end within {PULL_S:g} s"), image=name) from None
        except Refusal as refusal:
            raise ImageNotFound(_missing(name, refusal.words), image=name) from refusal


def _parts(name: str) -> tuple[str, str]:
    """Repository and tag of a name; the colon of a registry's port is no tag's."""
    place = name.partition("@")[0]
    repository, colon, tag = place.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (place, "")


def _missing(name: str, why: str) -> str:
    return f"The image {name!r} could not be got: {' '.join(why.split())[:300]}"
