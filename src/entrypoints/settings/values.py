"""What a person may decide about a running system: one frozen tree, declared here and only here."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import msgspec

from entrypoints.settings.secret import Secret, SecretUrl


class LogLevel(StrEnum):
    """The least serious record that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _about(
    description: str,
    *,
    must: str = "be a text",
    schemes: tuple[str, ...] = (),
    example: str = "",
) -> msgspec.Meta:
    """What is said of a setting: to readers, and to those whose value is refused."""
    if schemes:
        must = f"be a URL that starts with {' or '.join(f'{scheme}://' for scheme in schemes)}"
    extra: dict[str, Any] = {"must": must, "schemes": schemes, "example": example}
    return msgspec.Meta(description=description, extra=extra)


def _per_minute(what: str) -> msgspec.Meta:
    return _about(
        f"{what} that one caller may send a minute, also all at once; 0 is no limit.",
        must="be a whole number from 0 to 1000000",
    )


PER_MINUTE = msgspec.Meta(ge=0, le=1_000_000)
ONE_LINE = "be one line of visible ASCII text"
HTTP = ("http", "https")
ENGINE = ("unix", "tcp", "http", "https")


MostTasks = Annotated[
    Annotated[int, msgspec.Meta(ge=1, le=100_000)] | None,
    _about(
        "So many tasks may ask it at once, in all processes together; no limit if unset.",
        must="be a whole number from 1 to 100000",
    ),
]


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One more model that agents may name."""

    base_url: Annotated[
        str, _about("Base URL of an OpenAI-compatible endpoint for the model NAME.", schemes=HTTP)
    ]
    api_key: Annotated[Secret | None, _about("Its key.", must=ONE_LINE)] = None
    model: Annotated[str | None, _about("The endpoint's own name for it; NAME if unset.")] = None
    max_tasks: MostTasks = None


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One more Docker Engine."""

    host: Annotated[str, _about("Address of the Docker Engine NAME.", schemes=ENGINE)]
    cert_path: Annotated[
        Path | None, _about("Folder with ca.pem, cert.pem and key.pem for TLS.", must="be a path")
    ] = None


class MountSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A folder of an engine's machine that containers may be given by the name NAME."""

    source: Annotated[str, _about("Folder of the engine's machine that NAME means.")]
    target: Annotated[str, _about("Where it stands in the container.")]
    read_only: Annotated[bool, _about("Whether it can only be read.", must="be true or false")] = (
        True
    )


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All that is in force. Each field is the variable `SUTAZAI_` and its name in capitals.

    `database_url` is always set and names its async driver. Lists are written with commas.
    """

    host: Annotated[
        str, _about("Address to listen on. Anything but loopback needs SUTAZAI_ADMIN_KEY.")
    ] = "127.0.0.1"
    port: Annotated[
        int,
        _about(
            "Port to listen on; 0 takes a free one.",
            must="be a whole number from 0 to 65535",
        ),
        msgspec.Meta(ge=0, le=65535),
    ] = 10010
    data_dir: Annotated[
        Path,
        _about(
            "Folder for what the system keeps, made with mode 0700.",
            must="be a path",
            example="$XDG_DATA_HOME/sutazai or ~/.local/share/sutazai",
        ),
    ]
    database_url: Annotated[
        SecretUrl,
        _about(
            "The database: SQLite or PostgreSQL.",
            schemes=(
                "postgresql",
                "postgres",
                "postgresql+asyncpg",
                "sqlite",
                "sqlite+aiosqlite",
            ),
            example="the file sutazai.db in the data folder",
        ),
    ]
    database_pool_size: Annotated[
        int,
        _about(
            "Connections to PostgreSQL that one process has at most.",
            must="be a whole number from 1 to 1000",
        ),
        msgspec.Meta(ge=1, le=1000),
    ] = 8
    database_pool_timeout_s: Annotated[
        float,
        _about(
            "Seconds that a transaction on PostgreSQL waits for one of these connections.",
            must="be a number from 0.1 to 3600",
        ),
        msgspec.Meta(ge=0.1, le=3600),
    ] = 5.0
    database_connect_timeout_s: Annotated[
        float,
        _about(
            "Seconds in which PostgreSQL must take a new connection.",
            must="be a number from 0.1 to 3600",
        ),
        msgspec.Meta(ge=0.1, le=3600),
    ] = 5.0
    database_statement_timeout_s: Annotated[
        float,
        _about(
            "Seconds that a statement on PostgreSQL may take, locks included, and that a"
            " transaction may rest; a migration may take longer.",
            must="be a number from 0.1 to 3600",
        ),
        msgspec.Meta(ge=0.1, le=3600),
    ] = 5.0
    redis_url: Annotated[
        SecretUrl | None,
        _about(
            "Redis, by which several processes share hints, limits and cached answers.",
            schemes=("redis", "rediss", "unix"),
        ),
    ] = None
    docker_host: Annotated[
        str | None,
        _about(
            "Address of a Docker Engine, which may run servers in containers.",
            schemes=ENGINE,
        ),
    ] = None
    docker_cert_path: Annotated[
        Path | None,
        _about(
            "Folder with ca.pem, cert.pem and key.pem for an engine over TLS.", must="be a path"
        ),
    ] = None
    allowed_images: Annotated[
        tuple[str, ...],
        _about("Images that may be deployed, as patterns (ghcr.io/acme/*), divided by commas."),
    ] = ()
    llm_base_url: Annotated[
        str | None,
        _about(
            "Base URL of an OpenAI-compatible model endpoint, mostly ending in /v1.", schemes=HTTP
        ),
    ] = None
    llm_api_key: Annotated[Secret | None, _about("Key for the model endpoint.", must=ONE_LINE)] = (
        None
    )
    llm_model: Annotated[
        str | None, _about("The endpoint's name for the model that agents use by default.")
    ] = None
    llm_max_tasks: MostTasks = None
    mcp_config: Annotated[
        Path | None,
        _about(
            "File that names MCP servers, in the form of Claude, Cursor or VS Code.",
            must="be a path",
        ),
    ] = None
    admin_key: Annotated[
        Secret | None,
        _about("Key that callers send as a bearer token, with every right.", must=ONE_LINE),
    ] = None
    allowed_hosts: Annotated[
        tuple[str, ...],
        _about("More values of the Host header that are answered, divided by commas."),
    ] = ()
    allowed_origins: Annotated[
        tuple[str, ...],
        _about("Web origins whose pages may call this system, divided by commas."),
    ] = ()
    startup_timeout_s: Annotated[
        float,
        _about(
            "Seconds in which the database, and Redis where it is set, must be reached at start.",
            must="be a number above 0, at most 3600",
        ),
        msgspec.Meta(gt=0, le=3600),
    ] = 15.0
    drain_s: Annotated[
        float,
        _about(
            "Seconds that running work is given to end at stop.",
            must="be a number from 0 to 3600",
        ),
        msgspec.Meta(ge=0, le=3600),
    ] = 10.0
    worker_concurrency: Annotated[
        int,
        _about(
            "Tasks that one process carries out at a time.",
            must="be a whole number from 1 to 1000",
        ),
        msgspec.Meta(ge=1, le=1000),
    ] = 16
    keep_days: Annotated[
        int,
        _about(
            "Days that finished tasks are kept.",
            must="be a whole number from 1 to 36500",
        ),
        msgspec.Meta(ge=1, le=36500),
    ] = 30
    max_body_bytes: Annotated[
        int,
        _about(
            "Largest request body in bytes.",
            must="be a whole number from 1024 to 1073741824",
        ),
        msgspec.Meta(ge=1024, le=1024**3),
    ] = 1024**2
    chat_per_minute: Annotated[int, _per_minute("Chat messages"), PER_MINUTE] = 600
    tasks_per_minute: Annotated[int, _per_minute("Submitted tasks"), PER_MINUTE] = 0
    tool_calls_per_minute: Annotated[int, _per_minute("Tool calls over HTTP"), PER_MINUTE] = 0
    log_level: Annotated[
        LogLevel,
        _about("Least serious log record.", must="be debug, info, warning or error"),
    ] = LogLevel.INFO
    models: Mapping[str, ModelSettings] = msgspec.field(default_factory=dict)
    engines: Mapping[str, EngineSettings] = msgspec.field(default_factory=dict)
    mounts: Mapping[str, MountSettings] = msgspec.field(default_factory=dict)
