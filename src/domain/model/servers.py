"""MCP servers: what they are started from, and the one record of how each is."""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import NewType, TypeAlias

import msgspec

from domain.errors import Conflict, NotFound, Unavailable
from domain.model.breakers import Breaker
from domain.model.callers import CallerId
from domain.model.containers import Container

ServerName = NewType("ServerName", str)
SERVER_NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,31}$(?!\n)"
# Python's `$` also matches before a last line break.


class ServerNotFound(NotFound):
    """No server has this name."""


class ServerExists(Conflict):
    """Another server has this name."""


class ServerNotRemovable(Conflict):
    """The server comes from a file, is bundled or known: it was not added here."""


class ServerDown(Unavailable):
    """The server cannot take calls now; the reason says why and `retry_after` when to ask again."""


class ServerUnusable(Conflict):
    """The server's entry has a problem that must be mended first."""


class StartPolicy(StrEnum):
    """EAGER starts with the system, LAZY on first use, DISABLED never."""

    EAGER = "eager"
    LAZY = "lazy"
    DISABLED = "disabled"


class Origin(StrEnum):
    """Who named the server; KNOWN ones stand in the catalogue and give way to all others."""

    BUNDLED = "bundled"
    FILE = "file"
    API = "api"
    KNOWN = "known"


class OnChange(StrEnum):
    """What becomes of tools that are others than when they were first seen.

    ALERT tells, QUARANTINE tells and withholds them until they are approved.
    """

    ALERT = "alert"
    QUARANTINE = "quarantine"


class Sessions(StrEnum):
    """Who shares an instance of a server, and with it what the instance keeps.

    SHARED: all callers. PER_SESSION: the calls of one session of one caller. PER_CALLER: the
    calls of one caller. PER_CALL: nobody, each call has an instance of its own.
    """

    SHARED = "shared"
    PER_SESSION = "per_session"
    PER_CALLER = "per_caller"
    PER_CALL = "per_call"


class Balance(StrEnum):
    """Which of several replicas takes a call; STICKY: always the same one for a caller."""

    LEAST_IN_FLIGHT = "least_in_flight"
    ROUND_ROBIN = "round_robin"
    STICKY = "sticky"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a server may use; None does not limit. Going over one of the first five ends it.

    Memory is the resident memory of all its processes in MB of a million bytes; `cpu_percent` a
    rate over some seconds, 100 being one core; `output_mb_per_s` what it writes, over some
    seconds as well; `line_bytes` the longest line of its standard output, a message (an answer
    that is longer fails its call alone, unless it goes on to twice as much); `calls` how many may
    be under way at once and `queue` how many more may wait for their turn.
    """

    memory_mb: int | None = 2048
    processes: int | None = 128
    cpu_percent: float | None = None
    output_mb_per_s: float | None = None
    line_bytes: int = 16 * 1024 * 1024
    # An image or a file fits into a result; nobody can make us hold more than this.
    open_files: int = 4096
    calls: int = 64
    queue: int = 256


DEFAULT_LIMITS = Limits()
# Real servers take 48 to 64 MB each, a browser's or a compiler's some hundreds.


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What all processes of a server use, as last sampled; rates as in Limits."""

    memory_bytes: int
    processes: int
    cpu_percent: float
    output_mb_per_s: float = 0.0


class Command(msgspec.Struct, frozen=True, kw_only=True, tag="command", tag_field="kind"):
    """A program on this machine that speaks MCP over its standard input and output.

    `env` is added to the stated list of inherited variables; its values may be secrets.
    """

    command: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = msgspec.field(default_factory=dict)
    cwd: str | None = None


class Remote(msgspec.Struct, frozen=True, kw_only=True, tag="remote", tag_field="kind"):
    """A server that runs elsewhere and speaks MCP over Streamable HTTP.

    `headers` are sent with every request; their values may be secrets.
    """

    url: str
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)


ServerRecipe: TypeAlias = Command | Remote | Container


class ServerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What is to run under a name. `problem` says why it cannot, empty where it can.

    Shared ones run as `replicas` instances, all others as at most `max_instances`; limits hold
    for each instance.
    """

    name: ServerName
    recipe: ServerRecipe
    start: StartPolicy = StartPolicy.EAGER
    origin: Origin = Origin.API
    owner: CallerId
    problem: str = ""
    limits: Limits = DEFAULT_LIMITS
    on_change: OnChange = OnChange.ALERT
    sessions: Sessions = Sessions.SHARED
    max_instances: int = 16
    # A real server takes some 60 MB: a gigabyte in all.
    replicas: int = 1
    balance: Balance = Balance.LEAST_IN_FLIGHT
    max_tasks: int | None = None
    # So many tool tasks of it run at once, in all processes together.
    idempotent_tools: tuple[str, ...] = ()
    # Their calls may be repeated, whatever they say of themselves; "*" are all.
    canary: timedelta = timedelta(seconds=10)
    # A quiet server is asked for a sign this often; users expect health within seconds.
    idle_stop: timedelta | None = None
    max_life: timedelta | None = None
    probe_timeout: timedelta = timedelta(seconds=10)
    # From the spawn on, boot included: measured boots take up to 4.4 s (python-sdk uses 10 s).
    start_timeout: timedelta = timedelta(seconds=60)
    # A cold `npx` or `uvx` downloads its package first.

    @property
    def digest(self) -> str:
        """SHA-256 of the recipe in hex: what is learned of a server is kept under it."""
        return hashlib.sha256(msgspec.json.encode(self.recipe, order="sorted")).hexdigest()

    def calls_idempotent(self, tool: str) -> bool:
        """Whether an operator says that calls of a tool may be repeated."""
        return "*" in self.idempotent_tools or tool in self.idempotent_tools


class ServerState(StrEnum):
    """Where a server's life stands."""

    IDLE = "idle"
    STARTING = "starting"
    READY = "ready"
    DEGRADED = "degraded"
    BACKING_OFF = "backing_off"
    QUARANTINED = "quarantined"
    STOPPING = "stopping"
    STOPPED = "stopped"
    DISABLED = "disabled"


_S = ServerState
SERVER_TRANSITIONS: Mapping[ServerState, frozenset[ServerState]] = MappingProxyType(
    {
        _S.IDLE: frozenset({_S.STARTING, _S.STOPPED}),
        _S.STARTING: frozenset({_S.READY, _S.BACKING_OFF, _S.QUARANTINED, _S.STOPPING}),
        _S.READY: frozenset({_S.DEGRADED, _S.BACKING_OFF, _S.QUARANTINED, _S.STOPPING}),
        _S.DEGRADED: frozenset(
            {_S.READY, _S.DEGRADED, _S.BACKING_OFF, _S.QUARANTINED, _S.STOPPING}
        ),
        _S.BACKING_OFF: frozenset({_S.STARTING, _S.STOPPED}),
        _S.QUARANTINED: frozenset({_S.STARTING, _S.STOPPED}),
        _S.STOPPING: frozenset({_S.STOPPED, _S.IDLE}),
        _S.STOPPED: frozenset({_S.STARTING, _S.IDLE}),
        _S.DISABLED: frozenset({_S.STARTING}),
    }
)

SERVING = frozenset({_S.READY, _S.DEGRADED})
BROKEN = frozenset({_S.BACKING_OFF, _S.QUARANTINED})
HEALTHY = frozenset({_S.READY, _S.IDLE})


class StartFailure(msgspec.Struct, frozen=True, kw_only=True):
    """The last thing that went wrong: in which stage (`launch`, `handshake`, `listing`, `run`)."""

    stage: str
    message: str
    at: datetime


class Era(StrEnum):
    """Which family of protocol revisions a server speaks (MCP basic/versioning)."""

    MODERN = "modern"
    LEGACY = "legacy"


class ServerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The one record of how a server is; health, mesh and status are views of it.

    `failures` counts failed lives in a row and falls back to 0 after a stable run;
    `restarts` counts lives after the first. `retry_at` is set while backing off or quarantined.
    `calls` is the timed breaker before the calls of a remote server that serves.
    """

    spec: ServerSpec
    state: ServerState
    since: datetime
    reason: str = ""
    last_failure: StartFailure | None = None
    last_ok: datetime | None = None
    ready_at: datetime | None = None
    retry_at: datetime | None = None
    failures: int = 0
    starts: int = 0
    restarts: int = 0
    pid: int | None = None
    container_id: str | None = None
    usage: Usage | None = None
    era: Era | None = None
    protocol_version: str | None = None
    calls: Breaker | None = None
