"""Building an image through the engine: a context that holds one file, read by no shell."""

import asyncio
import io
import json
import tarfile
from collections import deque
from collections.abc import Iterator
from datetime import timedelta

import msgspec

from adapters.docker.connection import Connection, Refusal, progress
from adapters.docker.creation import CPU_PERCENT, MB, MEMORY_MB, Labels
from adapters.docker.wire import Image
from domain.model.containers import Blueprint, BuildFailed
from domain.model.servers import Limits

CPU_PERIOD_US = 100_000
# The kernel's own default for the window in which a share of processor time is counted.
TOLD_LINES = 10
TOLD_CHARS = 1_000


def recipe_of(blueprint: Blueprint) -> str:
    """The Dockerfile. JSON forms throughout, so that no word is split, expanded or chained."""
    lines = [f"FROM {blueprint.base}"]
    lines += [f"ENV {name}={json.dumps(text)}" for name, text in blueprint.environment.items()]
    if blueprint.folder:
        lines.append(f"WORKDIR {blueprint.folder}")
    lines += [f"RUN {json.dumps(list(step))}" for step in blueprint.steps]
    lines.append("ENTRYPOINT []")
    lines.append(f"CMD {json.dumps(list(blueprint.command))}")
    return "\n".join(lines) + "\n"


async def build(
    connection: Connection,
    blueprint: Blueprint,
    labels: Labels,
    limits: Limits,
    longest: timedelta,
) -> str:
    """As the port says; leaving the connection is what ends a build that takes too long."""
    said: deque[str] = deque(maxlen=TOLD_LINES)
    try:
        async with (
            asyncio.timeout(longest.total_seconds()),
            connection.stream(
                "POST",
                "/build",
                query=_query(blueprint, labels, limits),
                content=_context(recipe_of(blueprint)),
                headers={"Content-Type": "application/x-tar"},
            ) as answer,
        ):
            async for step in progress(answer):
                said.extend(step.stream.split("\n") if step.stream.strip() else ())
                if step.error:
                    raise _failed(blueprint, step.error, said)
    except TimeoutError:
        late = f"it took longer than {longest.total_seconds():g} s"
        raise _failed(blueprint, late, said) from None
    except Refusal as refusal:
        raise _failed(blueprint, refusal.words, said) from refusal
    image = await connection.ask("GET", f"/images/{blueprint.image}/json", Image)
    return image.id


def _query(blueprint: Blueprint, labels: Labels, limits: Limits) -> dict[str, str | int]:
    """What it is called, and what its steps may use."""
    memory = (limits.memory_mb or MEMORY_MB) * MB
    return {
        "t": blueprint.image,
        "memory": memory,
        "memswap": memory,
        "cpuperiod": CPU_PERIOD_US,
        "cpuquota": round((limits.cpu_percent or CPU_PERCENT) / 100 * CPU_PERIOD_US),
        "rm": 1,
        "forcerm": 1,
        "labels": msgspec.json.encode(labels.of_images).decode(),
    }


def _context(recipe: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("Dockerfile")
        info.size = len(recipe.encode())
        tar.addfile(info, io.BytesIO(recipe.encode()))
    return buffer.getvalue()


def _failed(blueprint: Blueprint, why: str, said: deque[str]) -> BuildFailed:
    lines = " | ".join(_words(said))[-TOLD_CHARS:]
    told = f" It said last: {lines}" if lines else ""
    why = " ".join(why.split())[:TOLD_CHARS]
    return BuildFailed(
        f"The image {blueprint.image!r} could not be built: {why}.{told}", image=blueprint.image
    )


def _words(said: deque[str]) -> Iterator[str]:
    return (line.strip() for line in said if line.strip())
