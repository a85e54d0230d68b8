"""The mesh: everything that answers for this system, and the breakers before it, as views."""

from collections.abc import Iterator
from datetime import datetime

import msgspec

from domain.agents import Models
from domain.breaker_views import BreakerView, Kind, model_breaker, server_breaker
from domain.errors import NotFound
from domain.health import HealthService
from domain.model.breakers import BreakerState
from domain.model.callers import Caller, Scope
from domain.model.health import HealthState, PartHealth
from domain.model.servers import (
    HEALTHY,
    SERVING,
    Remote,
    ServerState,
)
from domain.model_guard import GuardedModel
from domain.orchestration.group import Member
from domain.orchestration.service import McpService
from domain.ports.models import LanguageModel
from domain.ports.system import Clock

_TAKING_CALLS = SERVING | {ServerState.IDLE}
_WELL = frozenset(map(str, {*HEALTHY, HealthState.HEALTHY}))
_OUT = frozenset(map(str, {ServerState.DISABLED, ServerState.STOPPED, HealthState.DISABLED}))
# Neither well nor ill: nobody wants them to run.
_MODELS_PART = "models"


class BreakerNotFound(NotFound):
    """No breaker has this name, or more than one has."""


_PARTS = {"database": Kind.DATABASE, "cache": Kind.CACHE, "docker": Kind.ENGINE}


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """One part that answers; `instance` names what is behind its name, empty where nothing is.

    `state` is a server's own state or a health state, `idle` for what was not needed so far;
    `weight` 0 means that it is given nothing now. `member` tells the instances of one server
    apart: a replica's number, or a digest of the session or caller that it belongs to.
    `in_flight` is None where it is not counted, `latency_ms` before the first answer, `breaker`
    where there is none.
    """

    name: str
    kind: Kind
    member: str = ""
    instance: str
    state: str
    weight: int
    in_flight: int | None
    latency_ms: float | None
    breaker: BreakerState | None
    reason: str
    since: datetime | None


class MeshStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The mesh in short: `instances` are those that are neither disabled nor stopped."""

    status: HealthState
    instances: int
    healthy: int
    in_flight: int
    waiting: int
    timestamp: datetime


class MeshService:
    """Reads records, gates, sessions, breakers and the health report; keeps nothing itself."""

    def __init__(
        self, mcp: McpService, models: Models, health: HealthService, clock: Clock
    ) -> None:
        self._mcp = mcp
        self._models = models
        self._health = health
        self._clock = clock

    def breakers(self, caller: Caller) -> tuple[BreakerView, ...]:
        """All breakers: servers by name, then models."""
        caller.require(Scope.READ)
        servers = tuple(server_breaker(record) for record in self._mcp.records())
        models = tuple(
            model_breaker(name, model.breaker)
            for name, model in self._models.each().items()
            if isinstance(model, GuardedModel)
        )
        return servers + models

    async def reset(self, caller: Caller, name: str) -> BreakerView:
        """Try what is behind an open breaker at once; any other stays as it is.

        Raises BreakerNotFound, ServerUnusable.
        """
        caller.require(Scope.ADMIN)
        kind, plain = self._found(name)
        if kind is Kind.SERVER:
            await self._mcp.reset_breaker(caller, plain)
            return server_breaker(self._mcp.record(plain))
        guard = self._guards()[plain]
        guard.reset()
        return model_breaker(plain, guard.breaker)

    async def services(self, caller: Caller) -> tuple[Instance, ...]:
        """Everything that answers for this system: servers by name, models, other parts."""
        caller.require(Scope.READ)
        report = await self._health.report()
        servers = tuple(self._servers())
        models = tuple(
            _model_instance(
                name, model, report.parts.get(_MODELS_PART) if self._is_default(model) else None
            )
            for name, model in self._models.each().items()
        )
        parts = tuple(
            _part_instance(name, kind, report.parts[name])
            for name, kind in _PARTS.items()
            if name in report.parts
        )
        return servers + models + parts

    async def status(self, caller: Caller) -> MeshStatus:
        """All of them in short."""
        instances = [each for each in await self.services(caller) if each.state not in _OUT]
        healthy = sum(each.state in _WELL for each in instances)
        core_down = any(
            each.kind is Kind.DATABASE and each.state == HealthState.UNHEALTHY for each in instances
        )
        status = HealthState.HEALTHY if healthy == len(instances) else HealthState.DEGRADED
        return MeshStatus(
            status=HealthState.UNHEALTHY if core_down or not self._mcp.started else status,
            instances=len(instances),
            healthy=healthy,
            in_flight=sum(each.in_flight or 0 for each in instances),
            waiting=self._mcp.waiting,
            timestamp=self._clock.now(),
        )

    def _is_default(self, model: LanguageModel) -> bool:
        return model is self._models.default

    def _guards(self) -> dict[str, GuardedModel]:
        """Guarded models under all their names."""
        named = {name: self._models.get(name) for name in self._models.names()}
        return {name: model for name, model in named.items() if isinstance(model, GuardedModel)}

    def _found(self, name: str) -> tuple[Kind, str]:
        """Whose breaker it is; the kind may be left out where one only has this name."""
        named = [
            *((Kind.SERVER, str(record.spec.name)) for record in self._mcp.records()),
            *((Kind.MODEL, plain) for plain in self._guards()),
        ]
        found = [each for each in named if name == f"{each[0]}:{each[1]}"]
        found = found or [each for each in named if name == each[1]]
        if len(found) != 1:
            why = "more than one breaker" if found else "no breaker"
            raise BreakerNotFound(
                f"There is {why} {name!r}: they are named server:NAME and model:NAME.", breaker=name
            )
        return found[0]

    def _servers(self) -> Iterator[Instance]:
        for name, members in self._mcp.members().items():
            yield from (_server_instance(name, member) for member in members)


def _server_instance(name: str, member: Member) -> Instance:
    record = member.record
    behind = f"process {record.pid}" if record.pid is not None else ""
    breaker = server_breaker(record).state
    return Instance(
        name=name,
        kind=Kind.SERVER,
        member=member.label,
        instance="remote" if isinstance(record.spec.recipe, Remote) else behind,
        state=record.state.value,
        weight=int(record.state in _TAKING_CALLS and breaker is not BreakerState.OPEN),
        in_flight=member.traffic.in_flight if member.traffic is not None else 0,
        latency_ms=_rounded(member.latency_ms),
        breaker=breaker,
        reason=record.reason,
        since=record.since,
    )


def _model_instance(name: str, model: LanguageModel, part: PartHealth | None) -> Instance:
    guard = model if isinstance(model, GuardedModel) else None
    state, reason, since = _model_state(guard, part)
    return Instance(
        name=name,
        kind=Kind.MODEL,
        instance=model.name,
        state=state,
        weight=int(guard is None or guard.breaker.state is not BreakerState.OPEN),
        in_flight=guard.in_flight if guard is not None else None,
        latency_ms=_rounded(guard.latency_ms) if guard is not None else None,
        breaker=guard.breaker.state if guard is not None else None,
        reason=reason,
        since=since,
    )


def _model_state(
    guard: GuardedModel | None, part: PartHealth | None
) -> tuple[str, str, datetime | None]:
    """What is known best: failures of requests, then the probe, then that none failed."""
    if guard is not None and guard.breaker.failures:
        is_open = guard.breaker.state is BreakerState.OPEN
        state = HealthState.UNHEALTHY if is_open else HealthState.DEGRADED
        return state.value, guard.breaker.reason, guard.breaker.since
    if part is not None:
        return part.state.value, part.reason, part.since
    if guard is None or guard.latency_ms is None:
        return ServerState.IDLE.value, "it was not asked so far", None
    return HealthState.HEALTHY.value, "", guard.breaker.since


def _part_instance(name: str, kind: Kind, part: PartHealth) -> Instance:
    return Instance(
        name=name,
        kind=kind,
        instance=part.backend or "",
        state=part.state.value,
        weight=int(part.state in {HealthState.HEALTHY, HealthState.DEGRADED}),
        in_flight=None,
        latency_ms=_rounded(part.probe_ms),
        breaker=None,
        reason=part.reason,
        since=part.since,
    )


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 3)
