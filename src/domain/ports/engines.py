"""Running servers in containers of an engine, here or on another machine."""

from collections.abc import AsyncGenerator, Callable
from datetime import timedelta
from typing import Protocol

from domain.errors import Unavailable
from domain.model.containers import Blueprint, Container, ContainerView, EngineStatus
from domain.model.servers import DEFAULT_LIMITS, Limits, ServerName, Usage
from domain.ports.launching import Child


class EngineUnavailable(Unavailable):
    """The engine cannot be reached, hangs, or answers with an error of its own."""


class ImageStore(Protocol):
    """The images of one engine."""

    async def resolve(self, image: str, *, pull: bool) -> str:
        """What `image` means now: its digest, or its id where no registry gave it.

        With `pull` it is got from its registry where the engine has none.

        Raises ImageNotFound, EngineUnavailable, EngineRefused.
        """
        ...

    async def build(self, blueprint: Blueprint, limits: Limits, longest: timedelta) -> str:
        """Build an image within limits and time; its id. Building it again gives the same name.

        Raises BuildFailed with the last lines of what it said, EngineUnavailable.
        """
        ...


class ContainerEngine(Protocol):
    """One engine. What it runs for this installation is told apart by labels."""

    @property
    def name(self) -> str:
        """Under which it is configured."""
        ...

    @property
    def images(self) -> ImageStore: ...

    def on_return(self, callback: Callable[[], None]) -> None:
        """Call back whenever it answers again after it was away."""
        ...

    async def launch(
        self, name: ServerName, recipe: Container, limits: Limits = DEFAULT_LIMITS
    ) -> Child:
        """Start a container, attached from its first byte on; as `Launcher.launch`.

        Memory, processors and processes are always limited, also where `limits` says None.

        Raises:
            LaunchFailed: the image is missing or its program cannot be run; nothing is left.
            EngineUnavailable: see there; what may be left is removed when the engine is back.
        """
        ...

    async def sweep(self) -> int:
        """Remove what an earlier life of this installation left; how many. As `Launcher.sweep`.

        Raises EngineUnavailable.
        """
        ...

    async def status(self) -> EngineStatus:
        """Ask it now. Raises EngineUnavailable."""
        ...

    async def containers(self) -> tuple[ContainerView, ...]:
        """This installation's, running or not, by server. Raises EngineUnavailable."""
        ...

    async def usage(self, container_id: str) -> Usage:
        """What one of them uses now, measured for a second.

        Raises ContainerNotFound, EngineUnavailable.
        """
        ...

    def logs(self, container_id: str, tail: int) -> AsyncGenerator[str, None]:
        """The last `tail` lines of diagnostics and those to come, until the container's end.

        Raises ContainerNotFound.
        """
        ...
