"""The database and the cache over HTTP."""

import msgspec
from litestar import Router, get, post
from litestar.types import Scope

from domain.model.health import HealthState
from domain.ports.cache import Cache, CacheStats
from domain.ports.storage import StorageInspector, StorageStatus
from entrypoints.http.requests import Service, may_administer, may_read


class DatabaseStatus(StorageStatus, frozen=True, kw_only=True):
    """What the database says of itself, measured now; an answer at all means that it serves."""

    status: HealthState = HealthState.HEALTHY


class Cleared(msgspec.Struct, frozen=True, kw_only=True):
    """How many entries were forgotten."""

    cleared: int


@get("/database/status", tags=["database"])
async def database_status(storage: Service[StorageInspector], scope: Scope) -> DatabaseStatus:
    """The database as it is now."""
    may_read(scope)
    return DatabaseStatus(**msgspec.structs.asdict(await storage.status()))


@get("/cache/stats", tags=["cache"])
async def cache_stats(cache: Service[Cache], scope: Scope) -> CacheStats:
    """Counts of the cache as they are now."""
    may_read(scope)
    return await cache.stats()


@post("/cache/clear", status_code=200, tags=["cache"])
async def clear_cache(cache: Service[Cache], scope: Scope) -> Cleared:
    """Forget all cached answers of this system, and nothing else."""
    may_administer(scope)
    return Cleared(cleared=await cache.clear())


ROUTES = Router("/", route_handlers=[database_status, cache_stats, clear_cache])
