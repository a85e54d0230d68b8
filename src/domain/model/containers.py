"""Containers: what is to run in one, and what an engine says of itself and of those it runs."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

import msgspec

from domain.errors import Conflict, Invalid, NotFound

ANY_ENGINE = ""
IMAGE_PATTERN = r"^[a-z0-9][\w./:-]{0,200}(@sha256:[0-9a-f]{64})?$(?!\n)"
# The grammar of references as the registry specification has it, less what nobody writes.


class ImageNotFound(NotFound):
    """The engine has no such image and could not get it."""


class ImageNotAllowed(Invalid):
    """The image is not on the list of those that may run here."""


class EngineNotFound(Invalid):
    """No engine of this name is configured."""


class ContainerNotFound(NotFound):
    """No container of this system has this id."""


class EngineRefused(Conflict):
    """The engine does not do what it was asked; the message is its own, shortened."""


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """A folder of the engine's machine, as an administrator allowed it under a name."""

    source: str
    target: str
    read_only: bool = True


class Container(msgspec.Struct, frozen=True, kw_only=True, tag="container", tag_field="kind"):
    """An image whose program speaks MCP over its standard input and output.

    `pinned` is what `image` meant when it was resolved: a digest, or an image's id where it was
    never in a registry; `pull` gets one that the engine lacks. `command` takes the place of the
    image's own, empty keeps it. `env` may hold secrets. Without `network` it reaches nothing.
    `user` empty means the image's own, or nobody where that would be root; `engine` empty, any.
    """

    image: str
    pinned: str = ""
    pull: bool = False
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = msgspec.field(default_factory=dict)
    network: bool = False
    mounts: tuple[Mount, ...] = ()
    user: str = ""
    engine: str = ANY_ENGINE


class ContainerState(StrEnum):
    """As the Engine API names them."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"


class ContainerView(msgspec.Struct, frozen=True, kw_only=True):
    """One container of this installation. Limits are those that the engine enforces."""

    container_id: str
    engine: str
    server: str
    image: str
    state: ContainerState
    status: str
    created_at: datetime
    memory_bytes: int
    cpus: float
    processes: int


class EngineStatus(msgspec.Struct, frozen=True, kw_only=True):
    """An engine as it answered just now.

    `memory_bytes` is its machine's, `claimed_bytes` what the limits of this installation's
    containers add up to.
    """

    name: str
    version: str
    api_version: str
    cpus: int
    memory_bytes: int
    claimed_bytes: int
    containers: int
    probe_ms: float


class BuildFailed(Invalid):
    """The image could not be built; the message ends with the last lines of the build."""


class PackageRefused(Invalid):
    """The name or version of a package is none that its registry's grammar allows."""


class Blueprint(msgspec.Struct, frozen=True, kw_only=True):
    """An image to be built: packages installed on a base, then a program.

    `steps` are run at the build, `command` when it starts, both in `folder`; an empty one is the
    base's own. All are lists of words, no shell reads them.
    """

    image: str
    base: str
    folder: str = ""
    steps: tuple[tuple[str, ...], ...]
    environment: Mapping[str, str] = msgspec.field(default_factory=dict)
    command: tuple[str, ...]
