"""The mesh and its breakers: views of what is kept elsewhere."""

from datetime import timedelta

import pytest

from adapters.inmemory.cache import MemoryCache
from adapters.inmemory.model import ScriptedLanguageModel
from adapters.inmemory.system import ManualClock
from domain.agents import Models
from domain.breaker_views import BreakerView, Kind
from domain.health import CacheProbe, FixedProbe, HealthService, ModelProbe
from domain.mesh import BreakerNotFound, Instance, MeshService
from domain.model.breakers import BreakerPolicy, BreakerState
from domain.model.callers import LOCAL, Caller, CallerId, Scope, ScopeMissing
from domain.model.health import Finding, HealthState
from domain.model.servers import ServerState, StartPolicy
from domain.model_guard import GuardedModel
from domain.ports.models import ModelAnswer, ModelRequest, ModelUnavailable
from domain.ports.probes import Probe
from tests.domain.toys import Toy, World, spec, world

pytestmark = pytest.mark.anyio

S, H, B = ServerState, HealthState, BreakerState
READER = Caller(id=CallerId("reader"), scopes=frozenset({Scope.READ}))
STRANGER = Caller(id=CallerId("stranger"), scopes=frozenset())
ASK = ModelRequest(instructions="", messages=())
ONCE = BreakerPolicy(failures=1)


class Mesh:
    """The service over a world's servers, models and parts; its first model answers once."""

    def __init__(self, here: World, database: HealthState = H.HEALTHY) -> None:
        clock = ManualClock()
        self.model = GuardedModel(
            ScriptedLanguageModel([ModelAnswer(text="well")], name="first"), clock, ONCE
        )
        other = GuardedModel(ScriptedLanguageModel([], name="x"), clock, ONCE)
        cache = MemoryCache(clock)
        probes: dict[str, Probe] = {
            "database": FixedProbe(Finding(state=database, probe_ms=0.5, backend="sqlite")),
            "cache": CacheProbe(cache, clock),
            "docker": FixedProbe(Finding(state=H.DISABLED, reason="no engine")),
            "models": ModelProbe(self.model, cache, clock),
        }
        models = Models(self.model, {"alias": self.model, "org/other": other, "both": other})
        self.of = MeshService(here.mcp, models, HealthService(probes, clock), clock)

    def breakers(self) -> dict[str, BreakerView]:
        return {view.name: view for view in self.of.breakers(READER)}

    async def services(self) -> dict[str, Instance]:
        return {each.name: each for each in await self.of.services(READER)}

    async def ask(self) -> None:
        async for _ in self.model.answer(ASK):
            pass


async def test_every_part_is_named_once_with_its_state() -> None:
    async with world(Toy()) as here:
        mesh = Mesh(here)
        services = await mesh.services()
        assert {(each.kind, name) for name, each in services.items()} == {
            (Kind.SERVER, "toy"),
            (Kind.MODEL, "first"),
            (Kind.MODEL, "org/other"),
            (Kind.DATABASE, "database"),
            (Kind.CACHE, "cache"),
            (Kind.ENGINE, "docker"),
        }
        toy, database = services["toy"], services["database"]
        assert (toy.state, toy.weight, toy.in_flight, toy.latency_ms) == (S.IDLE, 1, 0, None)
        assert (toy.instance, toy.breaker) == ("", B.CLOSED)
        assert (database.instance, database.latency_ms, database.breaker) == ("sqlite", 0.5, None)
        assert (services["docker"].state, services["docker"].weight) == (H.DISABLED, 0)
        assert services["first"].state == H.HEALTHY
        assert services["org/other"].state == S.IDLE


async def test_a_called_server_shows_its_latency() -> None:
    async with world(Toy()) as here:
        await here.call()
        toy = (await Mesh(here).services())["toy"]
        assert toy.latency_ms is not None
        assert 0 < toy.latency_ms < 5000
        assert (toy.state, toy.in_flight) == (S.READY, 0)


async def test_a_failed_server_is_open_until_a_reset_tries_it() -> None:
    toy = Toy()
    async with world(toy) as here:
        await here.call()
        mesh = Mesh(here)
        assert mesh.breakers()["server:toy"].state is B.CLOSED
        here.children[-1].go_over("it used too much")
        await here.reaches(S.BACKING_OFF)
        opened = mesh.breakers()["server:toy"]
        assert (opened.state, opened.failures) == (B.OPEN, 1)
        assert "it used too much" in opened.reason
        assert opened.retry_at == here.record().retry_at
        service = (await mesh.services())["toy"]
        assert (service.weight, service.breaker) == (0, B.OPEN)
        status = await mesh.of.status(READER)
        assert (status.status, status.instances, status.healthy) == (H.DEGRADED, 5, 4)

        toy.gate.clear()
        await mesh.of.reset(LOCAL, "toy")
        await here.reaches(S.STARTING)
        assert mesh.breakers()["server:toy"].state is B.HALF_OPEN
        toy.gate.set()
        await here.reaches(S.READY)
        assert mesh.breakers()["server:toy"].state is B.CLOSED
        assert (await mesh.of.status(READER)).status is H.HEALTHY


async def test_a_reset_begins_no_server_that_did_not_fail() -> None:
    async with world(Toy(), spec(), spec("off", start=StartPolicy.DISABLED)) as here:
        mesh = Mesh(here)
        await mesh.of.reset(LOCAL, "server:toy")
        await mesh.of.reset(LOCAL, "server:off")
        assert [record.state for record in here.mcp.records()] == [S.DISABLED, S.IDLE]


async def test_a_model_that_fails_is_open_until_a_reset() -> None:
    async with world(Toy()) as here:
        mesh = Mesh(here)
        await mesh.ask()
        assert (await mesh.services())["first"].latency_ms is not None
        with pytest.raises(ModelUnavailable):
            await mesh.ask()
        opened = mesh.breakers()["model:first"]
        assert (opened.state, opened.failures) == (B.OPEN, 1)
        assert opened.retry_at == opened.since + timedelta(seconds=5)
        first = (await mesh.services())["first"]
        assert (first.state, first.weight, first.reason) == (H.UNHEALTHY, 0, opened.reason)

        assert (await mesh.of.reset(LOCAL, "alias")).state is B.CLOSED
        assert mesh.breakers()["model:first"].state is B.CLOSED


async def test_a_name_without_its_kind_does_where_only_one_has_it() -> None:
    async with world(Toy(), spec("both"), spec("first-server")) as here:
        mesh = Mesh(here)
        assert (await mesh.of.reset(LOCAL, "org/other")).kind is Kind.MODEL
        assert (await mesh.of.reset(LOCAL, "first-server")).kind is Kind.SERVER
        assert (await mesh.of.reset(LOCAL, "model:both")).kind is Kind.MODEL
        for name in ("both", "nobody", "server:first", ""):
            with pytest.raises(BreakerNotFound):
                await mesh.of.reset(LOCAL, name)


async def test_a_reset_is_the_administrators_and_looking_a_readers() -> None:
    async with world(Toy()) as here:
        mesh = Mesh(here)
        with pytest.raises(ScopeMissing):
            await mesh.of.reset(READER, "toy")
        with pytest.raises(ScopeMissing):
            mesh.of.breakers(STRANGER)
        with pytest.raises(ScopeMissing):
            await mesh.of.status(STRANGER)


async def test_without_its_database_or_its_servers_the_mesh_is_unhealthy() -> None:
    async with world(Toy()) as here:
        assert (await Mesh(here, H.UNHEALTHY).of.status(READER)).status is H.UNHEALTHY
        await here.fleet.stop()
        assert (await Mesh(here).of.status(READER)).status is H.UNHEALTHY
