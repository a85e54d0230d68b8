"""The MCP bridge over HTTP: how all servers are, and requests passed on to one."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
from litestar import Router, get, post
from litestar.params import JSONBody
from litestar.types import Scope

from domain.health import HealthService
from domain.model.health import HealthState
from domain.model.servers import HEALTHY, Era, Limits, ServerRecord, ServerState, Usage
from domain.model.tools import PeerRefused, ToolAlert
from domain.orchestration.group import Member
from domain.orchestration.service import McpService
from domain.ports.mcp import Traffic
from domain.ports.system import Clock
from entrypoints.http.limits import Quota, counted_caller
from entrypoints.http.requests import Service, may_read

LONGEST_CALL_S = 3600
DOWN = frozenset(ServerState) - HEALTHY - {ServerState.DISABLED, ServerState.STOPPED}


class McpStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The bridge in short."""

    status: HealthState
    bridge_initialized: bool
    service_count: int
    dind_status: HealthState
    states: dict[ServerState, int]
    timestamp: datetime


class ServerHealth(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one server is; idle is healthy. `instances` counts what runs under its name by state."""

    state: ServerState
    healthy: bool
    reason: str
    since: datetime
    last_ok: datetime | None
    restarts: int
    instances: dict[ServerState, int]
    limits: Limits
    alerts: tuple[ToolAlert, ...]
    usage: Usage | None = None
    pid: int | None = None
    container_id: str | None = None
    era: Era | None = None


class HealthSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Counts over the servers that are not disabled; without one, all of them are healthy."""

    total: int
    healthy: int
    unhealthy: int
    percentage_healthy: float


class McpHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How every server is, by name."""

    services: dict[str, ServerHealth]
    summary: HealthSummary


class SessionAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of a server's open sessions since their start; `session_count` is how many."""

    session_count: int
    era: Era | None
    protocol_version: str | None
    in_flight: int
    requests: int
    bytes_in: int
    bytes_out: int
    noise_lines: int


class BridgeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The transport's view: the sessions that are open."""

    bridge_initialized: bool
    session_count: int
    calls_in_flight: int
    calls_waiting: int
    bytes_in: int
    bytes_out: int
    sessions: dict[str, SessionAnswer]
    timestamp: datetime


class ExecuteBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request to be passed on to a server."""

    server: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    method: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    params: dict[str, Any] = {}
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=LONGEST_CALL_S)] = 60


class RpcError(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The server's own error, as JSON-RPC says it."""

    code: int
    message: str
    data: Any = None


class ExecuteAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the server answered: a result, or its own error."""

    server: str
    method: str
    success: bool
    timestamp: datetime
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: RpcError | None = None


@get("/status")
async def mcp_status(
    mcp: Service[McpService],
    health_of: Service[HealthService],
    clock: Service[Clock],
    scope: Scope,
) -> McpStatus:
    """The bridge in short."""
    may_read(scope)
    states = Counter(record.state for record in mcp.records())
    status = HealthState.DEGRADED if DOWN & states.keys() else HealthState.HEALTHY
    return McpStatus(
        status=status if mcp.started else HealthState.UNHEALTHY,
        bridge_initialized=mcp.started,
        service_count=states.total(),
        dind_status=(await health_of.report()).parts["docker"].state,
        states=dict(states),
        timestamp=clock.now(),
    )


def _health(
    record: ServerRecord, members: tuple[Member, ...], alerts: tuple[ToolAlert, ...]
) -> ServerHealth:
    return ServerHealth(
        state=record.state,
        healthy=record.state in HEALTHY,
        reason=record.reason,
        since=record.since,
        last_ok=record.last_ok,
        restarts=record.restarts,
        instances=dict(Counter(member.record.state for member in members)),
        limits=record.spec.limits,
        alerts=alerts,
        usage=record.usage,
        pid=record.pid,
        container_id=record.container_id,
        era=record.era,
    )


@get("/health")
async def mcp_health(mcp: Service[McpService], scope: Scope) -> McpHealth:
    """How every server is."""
    may_read(scope)
    members = mcp.members()
    services = {
        str(name): _health(record, members[name], mcp.alerts(name))
        for record in mcp.records()
        if (name := record.spec.name)
    }
    counted = [each for each in services.values() if each.state is not ServerState.DISABLED]
    total = len(counted)
    healthy = sum(service.healthy for service in counted)
    return McpHealth(
        services=services,
        summary=HealthSummary(
            total=total,
            healthy=healthy,
            unhealthy=total - healthy,
            percentage_healthy=round(100 * healthy / total, 1) if total else 100.0,
        ),
    )


def _sessions(record: ServerRecord, counts: tuple[Traffic, ...]) -> SessionAnswer:
    return SessionAnswer(
        session_count=len(counts),
        era=record.era,
        protocol_version=record.protocol_version,
        in_flight=sum(each.in_flight for each in counts),
        requests=sum(each.requests for each in counts),
        bytes_in=sum(each.bytes_in for each in counts),
        bytes_out=sum(each.bytes_out for each in counts),
        noise_lines=sum(each.noise_lines for each in counts),
    )


@get("/bridge/status")
async def bridge_status(
    mcp: Service[McpService], clock: Service[Clock], scope: Scope
) -> BridgeStatus:
    """The open sessions and what goes through them."""
    may_read(scope)
    sessions = {
        str(name): _sessions(mcp.record(name), counts) for name, counts in mcp.traffic().items()
    }
    return BridgeStatus(
        bridge_initialized=mcp.started,
        session_count=sum(session.session_count for session in sessions.values()),
        calls_in_flight=sum(session.in_flight for session in sessions.values()),
        calls_waiting=mcp.waiting,
        bytes_in=sum(session.bytes_in for session in sessions.values()),
        bytes_out=sum(session.bytes_out for session in sessions.values()),
        sessions=sessions,
        timestamp=clock.now(),
    )


@post("/execute", status_code=200)
async def execute(
    mcp: Service[McpService],
    clock: Service[Clock],
    scope: Scope,
    data: JSONBody[ExecuteBody],
) -> ExecuteAnswer:
    """Pass one request on; an error that the server answers is an answer too."""
    caller = await counted_caller(scope, Quota.TOOL_CALLS)
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error = None
    try:
        result = await mcp.execute(
            caller,
            data.server,
            data.method,
            data.params,
            timeout=timedelta(seconds=data.timeout_s),
        )
    except PeerRefused as refusal:
        error = RpcError(code=refusal.code, message=refusal.message, data=refusal.data)
    return ExecuteAnswer(
        server=data.server,
        method=data.method,
        success=error is None,
        timestamp=clock.now(),
        result=result,
        error=error,
    )


ROUTES = Router(
    "/mcp",
    route_handlers=[mcp_status, mcp_health, bridge_status, execute],
    tags=["mcp"],
)
