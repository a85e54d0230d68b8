"""The Engine API's JSON and its attach frames, without I/O.

Source: Docker Engine API v1.41, https://docs.docker.com/reference/api/engine/version/v1.41/.
"""

from collections.abc import Iterator, Mapping
from enum import IntEnum

import msgspec

HEADER_BYTES = 8
MOST_FRAME_BYTES = 16 * 1024 * 1024
# The engine copies in pieces of 32 KiB; a length beyond this is no frame.


class FrameBroken(Exception):
    """What came is no attach frame: the stream cannot be read any further."""


class Source(IntEnum):
    """Where a frame's bytes come from."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    SYSTEM = 3


class Frames:
    """Cuts an attached stream into what each source wrote; pieces may end anywhere."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._source = Source.STDOUT
        self._left = 0

    def feed(self, data: bytes) -> Iterator[tuple[Source, bytes]]:
        """Parts of frames in order, none empty. Raises FrameBroken."""
        self._held += data
        while self._held:
            if not self._left:
                if len(self._held) < HEADER_BYTES:
                    return
                self._enter()
                continue
            part = bytes(self._held[: self._left])
            del self._held[: len(part)]
            self._left -= len(part)
            yield self._source, part

    def _enter(self) -> None:
        source, length = self._held[0], int.from_bytes(self._held[4:HEADER_BYTES], "big")
        if source > Source.SYSTEM or any(self._held[1:4]) or length > MOST_FRAME_BYTES:
            raise FrameBroken
        self._source, self._left = Source(source), length
        del self._held[:HEADER_BYTES]


class _Answer(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """The API writes its names in Pascal case; unknown ones are passed over."""


class Fault(msgspec.Struct, frozen=True):
    """What every error says."""

    message: str = ""


class Version(_Answer, frozen=True, kw_only=True):
    """GET /version."""

    version: str
    api_version: str
    min_api_version: str = msgspec.field(name="MinAPIVersion", default="1.12")


class Info(_Answer, frozen=True, kw_only=True):
    """GET /info, what placement asks for."""

    mem_total: int = 0
    cpus: int = msgspec.field(name="NCPU", default=0)


class Created(_Answer, frozen=True, kw_only=True):
    """POST /containers/create."""

    id: str


class Listed(_Answer, frozen=True, kw_only=True):
    """GET /containers/json, one of them."""

    id: str
    image: str = ""
    state: str = "created"
    status: str = ""
    created: int = 0
    labels: Mapping[str, str] = {}


class State(_Answer, frozen=True, kw_only=True):
    """How a container is, in GET /containers/{id}/json."""

    running: bool = False
    exit_code: int = 0
    oom_killed: bool = msgspec.field(name="OOMKilled", default=False)
    pid: int = 0


class HostLimits(_Answer, frozen=True, kw_only=True):
    """The limits in force, in GET /containers/{id}/json."""

    memory: int = 0
    nano_cpus: int = msgspec.field(name="NanoCpus", default=0)
    pids_limit: int | None = 0


class Inspected(_Answer, frozen=True, kw_only=True):
    """GET /containers/{id}/json."""

    id: str
    state: State
    host_config: HostLimits = HostLimits()


class ImageConfig(_Answer, frozen=True, kw_only=True):
    """What an image's maker decided."""

    user: str = ""


class Image(_Answer, frozen=True, kw_only=True):
    """GET /images/{name}/json."""

    id: str
    config: ImageConfig | None = None
    repo_digests: tuple[str, ...] | None = None


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """One line of what POST /images/create and /build tell; `error` ends it."""

    stream: str = ""
    status: str = ""
    error: str = ""


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Whom an event is about."""

    id: str = msgspec.field(name="ID", default="")
    attributes: Mapping[str, str] = msgspec.field(name="Attributes", default_factory=dict)


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One line of GET /events."""

    action: str = msgspec.field(name="Action", default="")
    actor: Actor = msgspec.field(name="Actor", default_factory=Actor)
    time_nano: int = msgspec.field(name="timeNano", default=0)


class CpuUsage(msgspec.Struct, frozen=True):
    """Nanoseconds of processor time since the container's start."""

    total_usage: int = 0


class CpuStats(msgspec.Struct, frozen=True, kw_only=True):
    """Processor time of a sample."""

    cpu_usage: CpuUsage = CpuUsage()


class MemoryStats(msgspec.Struct, frozen=True, kw_only=True):
    """Memory of a sample; `stats` holds the page cache under a name by cgroup version."""

    usage: int = 0
    stats: Mapping[str, int] = {}


class PidsStats(msgspec.Struct, frozen=True, kw_only=True):
    """Processes of a sample; absent once the container has ended."""

    current: int = 0


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """GET /containers/{id}/stats."""

    cpu_stats: CpuStats = CpuStats()
    memory_stats: MemoryStats = MemoryStats()
    pids_stats: PidsStats = PidsStats()

    @property
    def memory_bytes(self) -> int:
        """Used memory less the page cache that can be given back, as the command line shows it."""
        kept = self.memory_stats.stats
        cache = kept.get("total_inactive_file", kept.get("inactive_file", 0))
        return max(0, self.memory_stats.usage - cache)
