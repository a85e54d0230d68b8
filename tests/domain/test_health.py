"""How the system is: each probe tells the truth, the report bounds its time and keeps its past."""

import asyncio
from datetime import timedelta

import pytest

from adapters.inmemory.cache import MemoryCache
from adapters.inmemory.model import ScriptedLanguageModel
from adapters.inmemory.system import STARTED, ManualClock
from domain.health import (
    FRESH_S,
    LOOK_BUDGET_S,
    PROBE_TTL,
    CacheProbe,
    FixedProbe,
    HealthService,
    ModelProbe,
    ServersProbe,
    StorageProbe,
    WorkerProbe,
)
from domain.model.callers import LOCAL
from domain.model.health import Finding, HealthState, PartHealth
from domain.ports.models import ModelRefused, ModelUnavailable
from domain.ports.storage import StorageStatus, StorageUnavailable
from tests.domain.agent_bench import bench

pytestmark = pytest.mark.anyio

H = HealthState
STALE = timedelta(seconds=FRESH_S)


class Settable:
    """Finds what a test says; `looks` counts."""

    def __init__(self, state: HealthState = H.HEALTHY, reason: str = "") -> None:
        self.finding = Finding(state=state, reason=reason)
        self.looks = 0

    async def look(self) -> Finding:
        self.looks += 1
        return self.finding


class Hanging:
    async def look(self) -> Finding:
        await asyncio.Event().wait()
        raise AssertionError


class Inspector:
    """A store whose schema's revision can be set, or that is away."""

    def __init__(self) -> None:
        self.current: str | None = "7"
        self.away = False

    async def status(self) -> StorageStatus:
        if self.away:
            raise StorageUnavailable("The store is away.")
        return StorageStatus(
            dialect="memory",
            server_version="1",
            migration_current=self.current,
            migration_head="7",
            pool_in_use=0,
            pool_idle=0,
            probe_ms=0.5,
        )


async def test_the_database_is_healthy_only_at_the_head() -> None:
    inspector = Inspector()
    probe = StorageProbe(inspector)

    assert await probe.look() == Finding(state=H.HEALTHY, probe_ms=0.5, backend="memory")
    for other in ("6", None):
        inspector.current = other
        found = await probe.look()
        assert found.state is H.UNHEALTHY
        assert str(other) in found.reason
    inspector.away = True
    assert await probe.look() == Finding(state=H.UNHEALTHY, reason="The store is away.")


async def test_servers_are_as_their_records_say() -> None:
    room = bench([])
    probe = ServersProbe(room.mcp)
    assert (await probe.look()).state is H.UNHEALTHY
    async with room.open():
        assert await probe.look() == Finding(state=H.HEALTHY)
        await room.mcp.stop_server(LOCAL, "s")
        assert (await probe.look()).state is H.HEALTHY
    assert (await probe.look()).state is H.UNHEALTHY


async def test_the_worker_is_healthy_while_it_works() -> None:
    async with bench([]).open() as room:
        worker = room.worker()
        probe = WorkerProbe(worker)
        assert (await probe.look()).state is H.UNHEALTHY
        await worker.start()
        assert (await probe.look()).state is H.HEALTHY
        await worker.stop(timedelta())
        assert (await probe.look()).state is H.UNHEALTHY


@pytest.mark.parametrize("failure", [ModelUnavailable("away"), ModelRefused("wrong key")])
async def test_a_models_answer_counts_for_a_while(
    failure: ModelUnavailable | ModelRefused,
) -> None:
    clock = ManualClock()
    model = ScriptedLanguageModel([], probe_failure=failure)
    probe = ModelProbe(model, MemoryCache(clock), clock)

    down = Finding(state=H.UNHEALTHY, reason=failure.message, backend="scripted")
    assert await probe.look() == down
    model._probe_failure = None
    assert await probe.look() == down
    clock.advance(PROBE_TTL)
    assert (await probe.look()).state is H.HEALTHY


async def test_the_cache_answers_for_itself() -> None:
    clock = ManualClock()

    found = await CacheProbe(MemoryCache(clock), clock).look()

    assert (found.state, found.backend) == (H.HEALTHY, "memory")


@pytest.mark.parametrize(
    ("states", "worst"),
    [
        ((), H.HEALTHY),
        ((H.DISABLED,), H.HEALTHY),
        ((H.HEALTHY, H.DISABLED), H.HEALTHY),
        ((H.HEALTHY, H.DEGRADED, H.DISABLED), H.DEGRADED),
        ((H.UNHEALTHY, H.DEGRADED, H.HEALTHY), H.UNHEALTHY),
    ],
)
async def test_the_whole_is_as_its_worst_part(
    states: tuple[HealthState, ...], worst: HealthState
) -> None:
    probes = {str(at): FixedProbe(Finding(state=state)) for at, state in enumerate(states)}

    report = await HealthService(probes, ManualClock()).report()

    assert report.status is worst
    assert [part.state for part in report.parts.values()] == list(states)


async def test_a_part_remembers_since_when_and_when_it_was_well() -> None:
    clock, probe = ManualClock(), Settable(H.UNHEALTHY, "cold")
    health = HealthService({"part": probe}, clock)

    async def part_after(state: HealthState, reason: str = "") -> PartHealth:
        probe.finding = Finding(state=state, reason=reason)
        clock.advance(STALE)
        return (await health.report()).parts["part"]

    first = (await health.report()).parts["part"]
    well = await part_after(H.HEALTHY)
    still = await part_after(H.HEALTHY)
    down = await part_after(H.UNHEALTHY, "gone")
    longer = await part_after(H.UNHEALTHY, "gone for long")

    assert (first.since, first.last_ok, first.reason) == (STARTED, None, "cold")
    assert (well.since, well.last_ok) == (STARTED + STALE, STARTED + STALE)
    assert (still.since, still.last_ok) == (STARTED + STALE, STARTED + 2 * STALE)
    assert (down.since, down.last_ok) == (STARTED + 3 * STALE, STARTED + 2 * STALE)
    assert (longer.since, longer.last_ok) == (STARTED + 3 * STALE, STARTED + 2 * STALE)
    assert longer.reason == "gone for long"


async def test_many_callers_cost_one_look() -> None:
    clock, probe = ManualClock(), Settable()
    health = HealthService({"part": probe}, clock)

    await asyncio.gather(*(health.report() for _ in range(50)))
    await health.report()
    assert probe.looks == 1
    clock.advance(STALE)
    await health.report()
    assert probe.looks == 2


async def test_a_caller_that_leaves_takes_the_look_from_nobody() -> None:
    health = HealthService({"part": Settable()}, ManualClock())
    leaving = asyncio.create_task(health.report())
    staying = asyncio.create_task(health.report())
    await asyncio.sleep(0)
    leaving.cancel()

    assert (await staying).status is H.HEALTHY


async def test_a_part_that_hangs_costs_its_budget_and_spoils_no_other() -> None:
    loop = asyncio.get_running_loop()
    health = HealthService(
        {"hanging": Hanging(), "hanging too": Hanging(), "well": Settable()}, ManualClock()
    )
    begun = loop.time()

    report = await health.report()

    assert loop.time() - begun < LOOK_BUDGET_S + 1
    assert report.parts["hanging"].state is H.UNHEALTHY
    assert "2 s" in report.parts["hanging"].reason
    assert report.parts["well"].state is H.HEALTHY


async def test_a_model_that_hangs_costs_one_look_until_its_finding_is_old(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = 0

    class HangingModel(ScriptedLanguageModel):
        async def probe(self) -> None:
            nonlocal asked
            asked += 1
            await asyncio.Event().wait()

    monkeypatch.setattr("domain.health.PEER_BUDGET_S", 0.05)
    clock = ManualClock()
    probe = ModelProbe(HangingModel([]), MemoryCache(clock), clock)
    hanging = Finding(state=H.UNHEALTHY, reason="no answer within 0.05 s", backend="scripted")
    assert [await probe.look() for _ in range(3)] == [hanging] * 3
    assert asked == 1
    clock.advance(PROBE_TTL)
    assert await probe.look() == hanging
    assert asked == 2
