"""What the engine is asked to create: limits, few rights, and this system's labels."""

from collections.abc import Mapping
from typing import Any

import msgspec

from domain.model.containers import Container
from domain.model.servers import Limits, ServerName

SERVER, NODE, GENERATION = "sutazai.server", "sutazai.node", "sutazai.generation"
MEMORY_MB, PROCESSES, CPU_PERCENT = 2048, 128, 100.0
# Where a server's own limits say None: a container is never without.
MB = 1_000_000
NANO_CPUS_PER_PERCENT = 10_000_000
NOBODY = "65534:65534"
# For images that name no user: theirs would be root.
TMP_MB = 64
# What a read-only container may write, in its own memory.


class Labels(msgspec.Struct, frozen=True, kw_only=True):
    """Whose a container is: this installation's `node`, and the life of it that made it."""

    node: str
    generation: str

    def of(self, name: ServerName) -> dict[str, str]:
        """The labels of a server's container."""
        return {SERVER: name, NODE: self.node, GENERATION: self.generation}

    @property
    def of_images(self) -> dict[str, str]:
        """The label of an image that was built for this installation."""
        return {NODE: self.node}

    @property
    def own(self) -> str:
        """The label that all of this node's have, as the API's filters take it."""
        return f"{NODE}={self.node}"


def body_of(
    recipe: Container, limits: Limits, labels: Mapping[str, str], *, user: str, init: bool
) -> dict[str, Any]:
    """The body of POST /containers/create.

    `init` lets the engine's own init run as the first process, which passes signals on and reaps:
    the first process of a namespace ignores every signal that it does not handle.
    """
    return {
        "Image": recipe.pinned or recipe.image,
        **({"Cmd": list(recipe.command)} if recipe.command else {}),
        "Env": [f"{key}={value}" for key, value in recipe.env.items()],
        "Labels": dict(labels),
        "User": user,
        "OpenStdin": True,
        "StdinOnce": True,
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": False,
        "HostConfig": _host(recipe, limits) | ({"Init": True} if init else {}),
    }


def _host(recipe: Container, limits: Limits) -> dict[str, Any]:
    memory = (limits.memory_mb or MEMORY_MB) * MB
    return {
        "Memory": memory,
        "MemorySwap": memory,  # the same: no swap beside it
        "NanoCpus": round((limits.cpu_percent or CPU_PERCENT) * NANO_CPUS_PER_PERCENT),
        "PidsLimit": limits.processes or PROCESSES,
        "Ulimits": [
            {"Name": "nofile", "Soft": limits.open_files, "Hard": limits.open_files},
            {"Name": "core", "Soft": 0, "Hard": 0},
        ],
        "ReadonlyRootfs": True,
        "Tmpfs": {"/tmp": f"rw,nosuid,nodev,size={TMP_MB}m"},  # noqa: S108 - the container's own
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "NetworkMode": "bridge" if recipe.network else "none",
        "RestartPolicy": {"Name": "no"},
        # What a server says is read from its streams; on the engine's disk it would only cost.
        "LogConfig": {"Type": "none"},
        "Mounts": [
            {
                "Type": "bind",
                "Source": mount.source,
                "Target": mount.target,
                "ReadOnly": mount.read_only,
            }
            for mount in recipe.mounts
        ],
    }
