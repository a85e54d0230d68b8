"""Images of an engine: what a name means, and getting one that is not there."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import quote

import httpx
import msgspec

from adapters.docker.connection import Connection, Refusal
from adapters.docker.wire import Image, Progress
from domain.model.containers import ImageNotFound

PULL_S = 600.0
# A gigabyte over a slow line.
_NOT_FOUND = 404


class Images:
    """The images of one engine."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

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

    async def resolve(self, name: str, *, pull: bool) -> str:
        """As the port says."""
        try:
            image = await self.find(name)
        except ImageNotFound:
            if not pull:
                raise
            await self.pull(name)
            image = await self.find(name)
        digests = image.repo_digests or ()
        repository = name.partition("@")[0].rpartition(":")[0] or name
        own = [each for each in digests if each.partition("@")[0] in {repository, name}]
        return (own or digests or (image.id,))[0]

    async def pull(self, name: str) -> None:
        """Get an image from its registry. Raises ImageNotFound with the engine's own words."""
        repository, colon, tag = name.rpartition(":")
        if not colon or "/" in tag or "@" in name:
            repository, tag = name, "" if "@" in name else "latest"
        query = {"fromImage": repository} | ({"tag": tag} if tag else {})
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


async def progress(answer: httpx.Response) -> AsyncIterator[Progress]:
    """The lines of JSON in which a pull, an import or a build tells how far it is."""
    decoder = msgspec.json.Decoder(Progress)
    async for line in answer.aiter_lines():
        if line.strip():
            yield decoder.decode(line)


def _missing(name: str, why: str) -> str:
    return f"The image {name!r} could not be got: {' '.join(why.split())[:300]}"
