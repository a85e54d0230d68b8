"""The system as a whole over HTTP: what it is, how it is, how it is spoken to."""

from datetime import datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path

import msgspec
from litestar import Litestar, MediaType, Request, Response, get
from litestar.datastructures import State
from litestar.types import Scope

from domain.health import HealthService
from domain.model.health import HealthState, PartHealth
from entrypoints.http.problems import ProblemDocument
from entrypoints.http.requests import Service, may_read

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HERE = Path(__file__).parent


class Welcome(msgspec.Struct, frozen=True, kw_only=True):
    """What this is and where to go on."""

    name: str
    version: str
    docs: str = "/docs"
    openapi: str = "/openapi.json"
    health: str = "/health"


class HealthAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How the system is; `status` is the worst of its parts, less the disabled ones."""

    status: HealthState
    services: dict[str, HealthState]
    details: dict[str, PartHealth]
    timestamp: datetime


@get("/", tags=["system"], sync_to_thread=False)
def welcome() -> Welcome:
    """What this is."""
    return Welcome(name="SutazAI", version=version("sutazai"))


@get("/health", tags=["system"])
async def health(health_of: Service[HealthService], scope: Scope) -> Response[HealthAnswer]:
    """How every part is: 200 while the core serves, 503 when the database is down."""
    may_read(scope)
    report = await health_of.report()
    database = report.parts.get("database")
    down = database is not None and database.state is HealthState.UNHEALTHY
    answer = HealthAnswer(
        status=report.status,
        services={name: part.state for name, part in report.parts.items()},
        details=dict(report.parts),
        timestamp=report.at,
    )
    return Response(answer, status_code=503 if down else 200)


@cache
def openapi_document(app: Litestar) -> bytes:
    """The operations of `app` as OpenAPI 3.1, made once; whatever goes wrong is a problem."""
    document = app.openapi_schema.to_schema()
    refs, schemas = msgspec.json.schema_components(
        (ProblemDocument,), ref_template="#/components/schemas/{name}"
    )
    document["components"]["schemas"] |= schemas
    problem = {
        "description": "What went wrong (RFC 9457)",
        "content": {"application/problem+json": {"schema": refs[0]}},
    }
    for path in document["paths"].values():
        for operation in path.values():
            operation["responses"].pop("400", None)
            operation["responses"]["default"] = problem
    return msgspec.json.encode(document)


@get("/openapi.json", include_in_schema=False, sync_to_thread=False)
def openapi(request: Request[None, None, State]) -> Response[bytes]:
    """The system's operations."""
    return Response(openapi_document(request.app), media_type=MediaType.JSON)


def _page(name: str, media_type: str) -> Response[bytes]:
    headers = {"content-security-policy": PAGE_POLICY, "referrer-policy": "no-referrer"}
    return Response((HERE / name).read_bytes(), media_type=media_type, headers=headers)


@get(["/docs", "/api/v1/docs"], include_in_schema=False, sync_to_thread=False)
def docs() -> Response[bytes]:
    """A page for people, made in the browser from the OpenAPI document."""
    return _page("docs.html", "text/html")


@get("/docs/page.js", include_in_schema=False, sync_to_thread=False)
def docs_script() -> Response[bytes]:
    """What makes the page."""
    return _page("docs.js", "text/javascript")


@get("/docs/page.css", include_in_schema=False, sync_to_thread=False)
def docs_style() -> Response[bytes]:
    """How the page looks."""
    return _page("docs.css", "text/css")


ROUTES = [welcome, health, openapi, docs, docs_script, docs_style]
