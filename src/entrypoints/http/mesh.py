"""The mesh and its breakers over HTTP."""

import msgspec
from litestar import Router, get, post
from litestar.params import FromPath
from litestar.types import Scope

from domain.breaker_views import BreakerView
from domain.mesh import Instance, MeshService, MeshStatus
from entrypoints.http.requests import Service, caller_of


class BreakerList(msgspec.Struct, frozen=True, kw_only=True):
    """All breakers: servers by name, then models."""

    breakers: tuple[BreakerView, ...]
    total_count: int


class InstanceList(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that answers for this system."""

    services: tuple[Instance, ...]
    total_count: int


@get("/mesh/status", tags=["mesh"])
async def mesh_status(mesh: Service[MeshService], scope: Scope) -> MeshStatus:
    """The mesh in short."""
    return await mesh.status(caller_of(scope))


@get("/mesh/services", tags=["mesh"])
async def mesh_services(mesh: Service[MeshService], scope: Scope) -> InstanceList:
    """Servers, models, the database, the cache and the engine, each with its load and state."""
    services = await mesh.services(caller_of(scope))
    return InstanceList(services=services, total_count=len(services))


@get("/circuit-breakers", tags=["circuit-breakers"])
async def circuit_breakers(mesh: Service[MeshService], scope: Scope) -> BreakerList:
    """All breakers as they are now."""
    breakers = mesh.breakers(caller_of(scope))
    return BreakerList(breakers=breakers, total_count=len(breakers))


@post(
    ["/circuit-breakers/{name:str}/reset", "/circuit-breakers/{name:str}/{rest:str}/reset"],
    status_code=200,
    tags=["circuit-breakers"],
)
async def reset_breaker(
    mesh: Service[MeshService], scope: Scope, name: FromPath[str], rest: FromPath[str | None] = None
) -> BreakerView:
    """Try at once what is behind an open breaker: `server:NAME` or `model:NAME`.

    Names of models often hold one slash, as `model:owner/name`.
    """
    return await mesh.reset(caller_of(scope), name if rest is None else f"{name}/{rest}")


ROUTES = Router("/", route_handlers=[mesh_status, mesh_services, circuit_breakers, reset_breaker])
