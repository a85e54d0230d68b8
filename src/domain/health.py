"""How the system is: every part looked at, none assumed."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from domain.model.containers import EngineRefused, EngineStatus
from domain.model.health import Finding, HealthState, PartHealth
from domain.model.servers import HEALTHY, ServerState
from domain.orchestration.service import McpService
from domain.ports.cache import Cache
from domain.ports.engines import ContainerEngine, EngineUnavailable
from domain.ports.models import LanguageModel, ModelRefused, ModelUnavailable
from domain.ports.probes import Probe
from domain.ports.storage import StorageInspector, StorageUnavailable
from domain.ports.system import Clock
from domain.tasks.worker import Worker

LOOK_BUDGET_S = 2.0
# Longer than a loaded SQLite file needs, short enough for a caller of /health.
PEER_BUDGET_S = 1.5
# Under the budget of the whole look, so that the one that hangs is named and the finding kept.
FRESH_S = 0.5
# Looks are shared for this long, so that many callers cost what one costs; below one second,
# the bound within which a death must show.
PROBE_TTL = timedelta(seconds=10)
# A model's server is another party's: it is asked this often at most.

_ORDER = (HealthState.HEALTHY, HealthState.DEGRADED, HealthState.UNHEALTHY)


class HealthReport(msgspec.Struct, frozen=True, kw_only=True):
    """`status` is the worst of the parts that are not disabled."""

    status: HealthState
    parts: Mapping[str, PartHealth]
    at: datetime


class StorageProbe:
    """The database: one question to it."""

    def __init__(self, inspector: StorageInspector) -> None:
        self._inspector = inspector

    async def look(self) -> Finding:
        """Ask it now."""
        try:
            status = await self._inspector.status()
        except StorageUnavailable as failure:
            return Finding(state=HealthState.UNHEALTHY, reason=failure.message)
        if status.migration_current != status.migration_head:
            reason = f"its schema is at {status.migration_current}, not {status.migration_head}"
            return Finding(
                state=HealthState.UNHEALTHY,
                reason=reason,
                probe_ms=status.probe_ms,
                backend=status.dialect,
            )
        return Finding(state=HealthState.HEALTHY, probe_ms=status.probe_ms, backend=status.dialect)


class ServersProbe:
    """The MCP servers: their records, which exits and answers keep true."""

    def __init__(self, mcp: McpService) -> None:
        self._mcp = mcp

    async def look(self) -> Finding:
        """Read the records."""
        if not self._mcp.started:
            return Finding(state=HealthState.UNHEALTHY, reason="the servers are not begun")
        down = [
            f"{record.spec.name} is {record.state.value.replace('_', ' ')}"
            + (f" ({record.reason})" if record.reason else "")
            for record in self._mcp.records()
            if record.state not in HEALTHY | {ServerState.DISABLED, ServerState.STOPPED}
        ]
        if down:
            return Finding(state=HealthState.DEGRADED, reason="; ".join(down))
        return Finding(state=HealthState.HEALTHY)


class FixedProbe:
    """A part that is not configured: there is nothing to look at, and it says so."""

    def __init__(self, finding: Finding) -> None:
        self._finding = finding

    async def look(self) -> Finding:
        """The same each time."""
        return self._finding


class HealthService:
    """Looks at all parts at the same time, each within its budget."""

    def __init__(self, probes: Mapping[str, Probe], clock: Clock) -> None:
        self._probes = dict(probes)
        self._clock = clock
        self._parts: dict[str, PartHealth] = {}
        self._looking: asyncio.Task[HealthReport] | None = None
        self._report: HealthReport | None = None
        self._looked_at = float("-inf")

    async def report(self) -> HealthReport:
        """How everything is, looked at no longer than FRESH_S ago."""
        if self._report is not None and self._clock.monotonic() - self._looked_at < FRESH_S:
            return self._report
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        return await asyncio.shield(self._looking)

    async def _look(self) -> HealthReport:
        names = tuple(self._probes)
        findings = await asyncio.gather(*(self._one(name) for name in names))
        for name, finding in zip(names, findings, strict=True):
            self._parts[name] = self._part(self._parts.get(name), finding)
        states = {part.state for part in self._parts.values()}
        self._looked_at = self._clock.monotonic()
        self._report = HealthReport(
            status=next(
                (state for state in reversed(_ORDER) if state in states), HealthState.HEALTHY
            ),
            parts=dict(self._parts),
            at=self._clock.now(),
        )
        return self._report

    async def _one(self, name: str) -> Finding:
        try:
            async with asyncio.timeout(LOOK_BUDGET_S):
                return await self._probes[name].look()
        except TimeoutError:
            return Finding(
                state=HealthState.UNHEALTHY, reason=f"no answer within {LOOK_BUDGET_S:g} s"
            )

    def _part(self, before: PartHealth | None, finding: Finding) -> PartHealth:
        now = self._clock.now()
        same = before is not None and before.state is finding.state
        last_ok = before.last_ok if before is not None else None
        return PartHealth(
            state=finding.state,
            reason=finding.reason,
            since=before.since if before is not None and same else now,
            last_ok=now if finding.state is HealthState.HEALTHY else last_ok,
            probe_ms=finding.probe_ms,
            backend=finding.backend,
        )


class ModelProbe:
    """The default model's server; an answer counts for PROBE_TTL, so that looking stays cheap."""

    def __init__(self, model: LanguageModel, cache: Cache, clock: Clock) -> None:
        self._model = model
        self._cache = cache
        self._clock = clock

    async def look(self) -> Finding:
        """The kept answer, or a fresh one."""
        key = f"health/model/{self._model.name}"
        kept = await self._cache.get(key)
        if kept is not None:
            return msgspec.json.decode(kept, type=Finding)
        finding = await self._ask()
        await self._cache.put(key, msgspec.json.encode(finding), PROBE_TTL)
        return finding

    async def _ask(self) -> Finding:
        begun = self._clock.monotonic()
        try:
            async with asyncio.timeout(PEER_BUDGET_S):
                await self._model.probe()
        except (ModelUnavailable, ModelRefused) as failure:
            return self._ill(failure.message)
        except TimeoutError:
            return self._ill(f"no answer within {PEER_BUDGET_S:g} s")
        probe_ms = round((self._clock.monotonic() - begun) * 1000, 3)
        return Finding(state=HealthState.HEALTHY, probe_ms=probe_ms, backend=self._model.name)

    def _ill(self, reason: str) -> Finding:
        return Finding(state=HealthState.UNHEALTHY, reason=reason, backend=self._model.name)


class EnginesProbe:
    """The container engines: each asked for its version and what it runs."""

    def __init__(self, engines: Mapping[str, ContainerEngine]) -> None:
        self._engines = engines

    async def look(self) -> Finding:
        """Ask all of them now; one that is away makes the part degraded, the system goes on."""
        answers = await asyncio.gather(*map(_engine_status, self._engines.values()))
        up = [answer for answer in answers if isinstance(answer, EngineStatus)]
        down = [answer for answer in answers if isinstance(answer, str)]
        return Finding(
            state=HealthState.DEGRADED if down else HealthState.HEALTHY,
            reason="; ".join(down),
            probe_ms=max((status.probe_ms for status in up), default=None),
            backend=", ".join(f"{status.name} {status.version}" for status in up) or None,
        )


async def _engine_status(engine: ContainerEngine) -> EngineStatus | str:
    try:
        async with asyncio.timeout(PEER_BUDGET_S):
            return await engine.status()
    except (EngineUnavailable, EngineRefused) as failure:
        return failure.message
    except TimeoutError:
        return f"The engine {engine.name!r} gave no answer within {PEER_BUDGET_S:g} s."


class CacheProbe:
    """The cache: one question to it."""

    def __init__(self, cache: Cache, clock: Clock) -> None:
        self._cache = cache
        self._clock = clock

    async def look(self) -> Finding:
        """Ask it now."""
        begun = self._clock.monotonic()
        stats = await self._cache.stats()
        probe_ms = round((self._clock.monotonic() - begun) * 1000, 3)
        return Finding(state=HealthState.HEALTHY, probe_ms=probe_ms, backend=stats.backend)


class WorkerProbe:
    """This process's worker: whether it claims and keeps its leases."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def look(self) -> Finding:
        """Read its state."""
        if self._worker.running:
            return Finding(state=HealthState.HEALTHY)
        return Finding(state=HealthState.UNHEALTHY, reason="the worker does not run")
