"""The composition root: which adapter serves which port, opened and closed as one stack."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from importlib.metadata import version

import msgspec
import svcs

from adapters.inmemory.cache import MemoryCache
from adapters.inmemory.signals import MemorySignals
from adapters.llm.offline import OfflineModel
from adapters.mcp.connector import StreamConnector
from adapters.processes.launcher import ProcessLauncher
from adapters.schemas.compiler import JsonSchemaCompiler
from adapters.sql import migrate
from adapters.sql.engine import Database, open_database
from adapters.system import SystemChance, SystemClock
from domain.agents import AgentService, Models
from domain.chat import ChatService
from domain.errors import Invalid
from domain.health import (
    CacheProbe,
    FixedProbe,
    HealthService,
    ModelProbe,
    ServersProbe,
    StorageProbe,
    WorkerProbe,
)
from domain.mesh import MeshService
from domain.model.health import Finding, HealthState
from domain.model.servers import SERVING, Remote, ServerSpec, ServerState
from domain.model.tasks import AgentPayload, ToolPayload, WorkerId
from domain.model_guard import GuardedModel
from domain.orchestration.fleet import Fleet
from domain.orchestration.life import Parts
from domain.orchestration.service import McpService
from domain.ports.cache import Cache
from domain.ports.launching import Launcher
from domain.ports.mcp import Changed, McpConnector, McpSession, Opening, RemoteConnector
from domain.ports.models import LanguageModel
from domain.ports.probes import Probe
from domain.ports.schemas import SchemaCompiler
from domain.ports.signals import Signals
from domain.ports.storage import StorageInspector, StorageUnavailable, Transactions
from domain.ports.system import Chance, Clock
from domain.tasks.agent_run import AgentRun
from domain.tasks.carrier import Carrier, WorkerLimits
from domain.tasks.runs import RunOf, ToolRun
from domain.tasks.service import TaskService
from domain.tasks.worker import Worker
from entrypoints.settings.values import Secret, Settings

NO_MODEL = "no language model is configured (SUTAZAI_LLM_BASE_URL, SUTAZAI_LLM_MODEL)"

NO_ENGINE = Finding(state=HealthState.DISABLED, reason="no engine is configured")
RETRY_S = 0.25
# Between two tries to reach a database server that is still starting itself.
ANSWERING = SERVING | {ServerState.IDLE, ServerState.STARTING}


class SchemaOutdated(StorageUnavailable):
    """The database's tables are of another version of this system."""


class SettingUnsupported(Invalid):
    """A setting asks for a part that this version does not have."""


class System(msgspec.Struct, frozen=True, kw_only=True):
    """An open system; `container` holds every service under its type."""

    container: svcs.Container
    mcp: McpService
    worker: Worker


@asynccontextmanager
async def open_system(
    settings: Settings,
    environ: Mapping[str, str],
    installation: str,
    given: Iterable[ServerSpec],
) -> AsyncIterator[System]:
    """Open the database, begin the servers and the worker; leaving ends them in turn.

    Raises:
        SettingUnsupported: a part is asked for that this version does not have.
        StorageUnavailable: the database cannot be reached in time, or its tables are outdated.
    """
    _refuse_unsupported(settings)
    async with AsyncExitStack() as stack:
        clock: Clock = SystemClock()
        chance: Chance = SystemChance()
        signals: Signals = MemorySignals()
        cache: Cache = MemoryCache(clock)
        database = await _database(settings, stack)
        transactions: Transactions = database.transactions
        inspector: StorageInspector = database.inspector
        models = _models(settings, clock, stack)
        mcp = await _servers((installation, environ), given, transactions, (clock, chance), stack)
        shared = (transactions, signals, chance)
        worker = await _worker(installation, shared, mcp, models, stack)
        tasks = TaskService(transactions, signals, chance)
        probes: dict[str, Probe] = {
            "database": StorageProbe(inspector),
            "cache": CacheProbe(cache, clock),
            "mcp": ServersProbe(mcp),
            "docker": FixedProbe(NO_ENGINE),
            "models": _model_probe(models.default, cache, clock),
            "tasks": WorkerProbe(worker),
        }
        health = HealthService(probes, clock)
        registry = svcs.Registry()
        for service in (
            mcp,
            AgentService(transactions, models, lambda: _offered(mcp), clock),
            tasks,
            ChatService(transactions, tasks, worker, chance),
            health,
            MeshService(mcp, models, health, clock),
        ):
            registry.register_value(type(service), service)
        registry.register_value(Clock, clock)
        registry.register_value(StorageInspector, inspector)
        registry.register_value(Cache, cache)
        yield System(container=svcs.Container(registry), mcp=mcp, worker=worker)


async def _worker(
    installation: str,
    shared: tuple[Transactions, Signals, Chance],
    mcp: McpService,
    models: Models,
    stack: AsyncExitStack,
) -> Worker:
    """A worker that claims already; the stack ends it."""
    transactions, signals, chance = shared
    limits = WorkerLimits()
    runs: RunOf = {
        ToolPayload: ToolRun(mcp, transactions),
        AgentPayload: AgentRun(mcp, models, transactions),
    }
    carrier = Carrier(transactions, signals, runs, chance, limits)
    worker = Worker(WorkerId(f"{installation}/serve"), transactions, signals, carrier, limits)
    await worker.start()
    stack.push_async_callback(worker.stop, timedelta())
    return worker


def _refuse_unsupported(settings: Settings) -> None:
    """Running without a part that was asked for would be a lie."""
    asked = {
        "SUTAZAI_REDIS_URL": settings.redis_url,
        "SUTAZAI_DOCKER_HOST": settings.docker_host,
        "SUTAZAI_ENGINES__": settings.engines,
    }
    for name, value in asked.items():
        if value:
            raise SettingUnsupported(f"{name}: this version has no such part yet; leave it unset.")


async def _database(settings: Settings, stack: AsyncExitStack) -> Database:
    """An open database whose tables are at the head; SQLite's are brought there."""
    url = settings.database_url.reveal()
    embedded = url.startswith("sqlite")
    database = open_database(url)
    stack.push_async_callback(database.dispose)
    last: StorageUnavailable | None = None
    try:
        async with asyncio.timeout(settings.startup_timeout_s):
            if embedded:
                await migrate.upgrade(url)
            while True:
                try:
                    status = await database.inspector.status()
                    break
                except StorageUnavailable as failure:
                    if embedded:
                        raise
                    last = failure
                await asyncio.sleep(RETRY_S)
    except TimeoutError:
        why = f": {last.message}" if last is not None else "."
        raise StorageUnavailable(
            f"SUTAZAI_DATABASE_URL: not reached within {settings.startup_timeout_s:g} s{why}"
        ) from last
    if status.migration_current != status.migration_head:
        raise SchemaOutdated(
            f"SUTAZAI_DATABASE_URL: the tables are at {status.migration_current}, this version "
            f"needs {status.migration_head}: run `sutazai db upgrade`."
        )
    return database


async def _servers(
    launching: tuple[str, Mapping[str, str]],
    given: Iterable[ServerSpec],
    transactions: Transactions,
    system: tuple[Clock, Chance],
    stack: AsyncExitStack,
) -> McpService:
    installation, environ = launching
    clock, chance = system
    processes = ProcessLauncher(installation, environ)
    stack.push_async_callback(processes.aclose)
    launcher: Launcher = processes
    connector: McpConnector = StreamConnector("sutazai", version("sutazai"))
    compiler: SchemaCompiler = JsonSchemaCompiler()
    dialer: RemoteConnector = _Dialer()
    parts = Parts(launcher=launcher, connector=connector, dialer=dialer, clock=clock, chance=chance)
    fleet = Fleet(parts, transactions, compiler, given)
    stack.push_async_callback(fleet.stop)
    await fleet.start()
    return McpService(fleet, clock)


class _Dialer:
    """Remote servers need httpx, 7 MB and 0.2 s: imported when the first one is dialled."""

    async def dial(self, recipe: Remote, opening: Opening, changed: Changed) -> McpSession:
        from adapters.mcp.remote.connector import HttpConnector  # noqa: PLC0415 - as it says

        connector: RemoteConnector = HttpConnector("sutazai", version("sutazai"))
        return await connector.dial(recipe, opening, changed)


def _models(settings: Settings, clock: Clock, stack: AsyncExitStack) -> Models:
    named = {
        name: GuardedModel(_model(model.model or name, model.base_url, model.api_key, stack), clock)
        for name, model in settings.models.items()
    }
    if settings.llm_base_url is not None and settings.llm_model is not None:
        default = _model(settings.llm_model, settings.llm_base_url, settings.llm_api_key, stack)
        return Models(GuardedModel(default, clock), named)
    return Models(next(iter(named.values()), OfflineModel()), named)


def _model(
    name: str, base_url: str, api_key: Secret | None, stack: AsyncExitStack
) -> LanguageModel:
    # httpx takes 7 MB and 0.2 s: imported only where a model is configured.
    from adapters.llm.client import OpenAICompatibleModel  # noqa: PLC0415

    key = api_key.reveal() if api_key is not None else None
    model = OpenAICompatibleModel(name, base_url, key)
    stack.push_async_callback(model.aclose)
    return model


def _model_probe(model: LanguageModel, cache: Cache, clock: Clock) -> Probe:
    if isinstance(model, OfflineModel):
        return FixedProbe(Finding(state=HealthState.DISABLED, reason=NO_MODEL, backend=model.name))
    return ModelProbe(model, cache, clock)


def _offered(mcp: McpService) -> frozenset[str]:
    """Full names of the tools whose server takes calls now, or would on the first."""
    answering = {record.spec.name for record in mcp.records() if record.state in ANSWERING}
    return frozenset(tool.full_name for tool in mcp.tools() if tool.server in answering)


async def database_upgrade(settings: Settings) -> str:
    """Bring the tables to the head; return it."""
    await migrate.upgrade(settings.database_url.reveal())
    return migrate.head()


async def database_current(settings: Settings) -> tuple[str | None, str]:
    """The revision that the tables have, and the head."""
    database = open_database(settings.database_url.reveal())
    try:
        return (await database.inspector.status()).migration_current, migrate.head()
    finally:
        await database.dispose()


async def database_check(settings: Settings) -> tuple[str, ...]:
    """How the tables differ from what this version declares; empty where they do not."""
    return await migrate.differences(settings.database_url.reveal())
