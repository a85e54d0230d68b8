"""What is shown of a server over HTTP; secrets never leave."""

from datetime import datetime

import msgspec

from domain.model.containers import Container
from domain.model.servers import (
    HEALTHY,
    Balance,
    Command,
    Era,
    Limits,
    OnChange,
    Origin,
    Remote,
    ServerRecord,
    ServerState,
    Sessions,
    StartFailure,
    StartPolicy,
    Usage,
)
from domain.model.tools import ToolAlert
from domain.orchestration.secrets import told
from domain.orchestration.service import McpService


class ServerAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A server as it is now; values of its environment are masked.

    `max_instances` is null for a shared one, `balance` where there is one instance.
    """

    name: str
    state: ServerState
    healthy: bool
    since: datetime
    reason: str
    start: StartPolicy
    origin: Origin
    command: str | None
    args: tuple[str, ...]
    env: dict[str, str]
    cwd: str | None
    url: str | None
    headers: dict[str, str]
    image: str | None
    limits: Limits
    sessions: Sessions
    max_instances: int | None
    replicas: int
    balance: Balance | None
    on_change: OnChange
    alerts: tuple[ToolAlert, ...]
    usage: Usage | None
    era: Era | None
    protocol_version: str | None
    pid: int | None
    container_id: str | None
    restarts: int
    failures: int
    last_failure: StartFailure | None
    last_ok: datetime | None
    ready_at: datetime | None
    retry_at: datetime | None


class ServerWithLog(ServerAnswer, frozen=True, kw_only=True):
    """A server with the last lines of its diagnostics, oldest first."""

    log_tail: tuple[str, ...]


class ServerList(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the servers by name."""

    servers: tuple[ServerAnswer, ...]
    total_count: int
    next_cursor: str | None


def answer_of(mcp: McpService, record: ServerRecord) -> ServerAnswer:
    """What is shown of a server."""
    return described(told(record), mcp.alerts(record.spec.name))


def described(record: ServerRecord, alerts: tuple[ToolAlert, ...]) -> ServerAnswer:
    """What is shown of a record whose secrets are masked already."""
    spec = record.spec
    command = spec.recipe if isinstance(spec.recipe, Command) else None
    remote = spec.recipe if isinstance(spec.recipe, Remote) else None
    boxed = spec.recipe if isinstance(spec.recipe, Container) else None
    env = {} if isinstance(spec.recipe, Remote) else dict(spec.recipe.env)
    return ServerAnswer(
        name=spec.name,
        state=record.state,
        healthy=record.state in HEALTHY,
        since=record.since,
        reason=record.reason,
        start=spec.start,
        origin=spec.origin,
        command=command.command if command else None,
        args=command.args if command else boxed.command if boxed else (),
        env=env,
        cwd=command.cwd if command else None,
        url=remote.url if remote else None,
        headers=dict(remote.headers) if remote else {},
        image=boxed.image if boxed else None,
        limits=spec.limits,
        sessions=spec.sessions,
        max_instances=None if spec.sessions is Sessions.SHARED else spec.max_instances,
        replicas=spec.replicas,
        balance=spec.balance if spec.replicas > 1 else None,
        on_change=spec.on_change,
        alerts=alerts,
        usage=record.usage,
        era=record.era,
        protocol_version=record.protocol_version,
        pid=record.pid,
        container_id=record.container_id,
        restarts=record.restarts,
        failures=record.failures,
        last_failure=record.last_failure,
        last_ok=record.last_ok,
        ready_at=record.ready_at,
        retry_at=record.retry_at,
    )
