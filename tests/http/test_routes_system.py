"""The system's own routes, over a real connection."""

import asyncio
import sys
from typing import NoReturn

import pytest

from tests.http.world import World

pytestmark = pytest.mark.anyio

IMPORTS = """
import asyncio, sys, svcs
import entrypoints.serving
from domain.ports.limits import RateLimits
from entrypoints.http.application import SERVICES, application
from entrypoints.http.system import openapi_document

registry = svcs.Registry()
for kind in (*SERVICES.values(), RateLimits):
    registry.register_value(kind, object())
openapi_document(application(svcs.Container(registry), asyncio.Event(), {}))
unwanted = {"pydantic", "polyfactory", "faker", "jinja2", "rich"} & {*sys.modules}
sys.exit(", ".join(unwanted) or 0)
"""


async def test_the_root_names_the_way_on(world: World) -> None:
    answer = await world.client.get("/")

    assert answer.status_code == 200
    assert answer.json()["name"] == "SutazAI"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-request-id"]


async def test_health_names_every_part_and_leaves_disabled_ones_out_of_the_sum(
    world: World,
) -> None:
    answer = await world.client.get("/health")

    assert answer.status_code == 200
    said = answer.json()
    assert said["status"] == "healthy"
    assert said["services"] == {"database": "healthy", "mcp": "healthy", "docker": "disabled"}
    assert said["details"]["docker"]["reason"] == "no engine"
    assert {"state", "reason", "since", "last_ok", "probe_ms", "backend"} == set(
        said["details"]["database"]
    )


async def test_health_is_503_when_the_database_is_down(world: World) -> None:
    world.inspector.dead = True

    answer = await world.client.get("/health")
    status = await world.client.get("/api/v1/database/status")

    assert answer.status_code == 503
    assert answer.json()["services"]["database"] == "unhealthy"
    assert status.status_code == 503
    assert status.json()["type"] == "urn:sutazai:problem:storage-unavailable"


async def test_the_database_and_the_cache_say_how_they_are(world: World) -> None:
    database = await world.client.get("/api/v1/database/status")
    cache = await world.client.get("/api/v1/cache/stats")
    cleared = await world.client.post("/api/v1/cache/clear")

    assert database.json()["status"] == "healthy"
    assert database.json()["dialect"] == "memory"
    assert cache.json()["backend"] == "memory"
    assert cleared.status_code == 200
    assert cleared.json() == {"cleared": 0}


@pytest.mark.parametrize("path", ["/docs", "/api/v1/docs", "/docs/page.js", "/docs/page.css"])
async def test_the_page_needs_nothing_from_elsewhere(world: World, path: str) -> None:
    answer = await world.client.get(path)

    assert answer.status_code == 200
    assert "://" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


async def test_the_openapi_document_lists_the_operations(world: World) -> None:
    document = (await world.client.get("/openapi.json")).json()

    assert document["info"]["title"] == "SutazAI"
    call = document["paths"]["/api/v1/mcp/servers/{server}/tools/{tool}"]["post"]
    names = {parameter["name"] for parameter in call["parameters"]}
    assert names == {"server", "tool", "timeout_s"}
    assert call["responses"]["200"]["content"]["application/json"]["schema"]
    assert "application/problem+json" in call["responses"]["default"]["content"]
    body = document["paths"]["/api/v1/tasks"]["post"]["requestBody"]["content"]
    assert len(body["application/json"]["schema"]["oneOf"]) == 2
    stream = document["paths"]["/api/v1/chat/stream"]["post"]["responses"]["200"]
    assert "text/event-stream" in stream["content"]


async def test_serving_imports_no_heavy_library_that_it_does_not_need() -> None:
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", IMPORTS)

    assert await child.wait() == 0


async def test_unknown_paths_and_methods_are_problems(world: World) -> None:
    nowhere = await world.client.get("/api/v1/nowhere")
    wrong_way = await world.client.delete("/health")

    assert nowhere.status_code == 404
    assert nowhere.headers["content-type"] == "application/problem+json"
    assert nowhere.json()["type"] == "urn:sutazai:problem:no-such-route"
    assert nowhere.json()["request_id"] == nowhere.headers["x-request-id"]
    assert wrong_way.status_code == 405
    assert "GET" in wrong_way.headers["allow"]


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ("{", 400, "malformed-json"),
        ("\udcff", 400, "malformed-json"),
        ("", 400, "malformed-json"),
        ("[]", 422, "body-invalid"),
        ('{"name": ' + "[" * 90_000, 422, "body-invalid"),
        ('{"instructions": "x"}', 422, "body-invalid"),
        ('{"name": "x", "instructions": "x", "colour": 1}', 422, "body-invalid"),
        ('{"name": 5, "instructions": "x"}', 422, "body-invalid"),
        ('{"name": "x", "instructions": "x", "limits": {"max_steps": "5"}}', 422, "body-invalid"),
        ('{"name": "x", "instructions": "x", "limits": {"max_steps": 0}}', 422, "body-invalid"),
    ],
)
async def test_a_wrong_body_is_refused(world: World, body: str, status: int, kind: str) -> None:
    answer = await world.client.post(
        "/api/v1/agents",
        content=body.encode("utf-8", "surrogateescape"),
        headers={"content-type": "application/json; charset=utf-8"},
    )

    assert answer.status_code == status
    assert answer.json()["type"] == f"urn:sutazai:problem:{kind}"


async def test_a_wrong_body_names_the_place(world: World) -> None:
    body = {"name": "x", "instructions": "x", "tools": ["a", 5]}
    answer = await world.client.post("/api/v1/agents", json=body)

    assert answer.json()["path"] == "/tools/1"
    assert "Expected `str`" in answer.json()["detail"]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=many", "status=odd", "limit=1&cursor=" + "x" * 301]
)
async def test_a_wrong_parameter_is_400(world: World, query: str) -> None:
    answer = await world.client.get(f"/api/v1/tasks?{query}")

    assert answer.status_code == 400
    assert answer.json()["type"] == "urn:sutazai:problem:parameter-invalid"


async def test_an_unforeseen_failure_keeps_its_text_to_itself(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken() -> NoReturn:
        raise RuntimeError("password=hush")

    world.inspector.status = broken  # type: ignore[method-assign]

    answer = await world.client.get("/api/v1/database/status")

    assert answer.status_code == 500
    assert "hush" not in answer.text
    assert answer.json()["request_id"] in caplog.text
    assert "password=hush" in caplog.text
