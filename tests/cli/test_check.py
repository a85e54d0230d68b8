"""`sutazai check` judges a system by its answers."""

import json
from typing import Any

import pytest

from tests.cli.conftest import Command
from tests.cli.system import Answer, System, as_json, problem, stream

PAGE = Answer(200, "text/html", b"<p>")
PATHS: dict[str, Any] = {
    "/health": {"get": {}},
    "/api/v1/agents": {"get": {}, "post": {}},
    "/api/v1/agents/{agent_id}": {"get": {}, "delete": {}},
    "/api/v1/tasks": {"get": {}},
    "/api/v1/tasks/{task_id}": {"get": {}},
    "/api/v1/tasks/{task_id}/events": {"get": {}},
    "/api/v1/chat": {"post": {}},
    "/api/v1/search": {"get": {"parameters": [{"in": "query", "name": "query", "required": True}]}},
    "/api/v1/mcp/status": {"get": {}},
}
COUNTS = {"entries": 0, "hits": 0, "misses": 0, "evictions": 0}


@pytest.fixture
def whole(system: System) -> System:
    """A system in which everything is as it should be, with an agent and no task."""
    for path in ("/livez", "/readyz", "/health-emergency"):
        system.lay(f"GET {path}", as_json({"status": "alive"}))
    for path in ("/docs", "/api/v1/docs"):
        system.lay(f"GET {path}", PAGE)
    system.lay("GET /openapi.json", as_json({"paths": PATHS}))
    system.lay("GET /health", as_json({"services": {"database": "healthy", "docker": "disabled"}}))
    system.lay("GET /api/v1/agents", as_json({"agents": [{"agent_id": "a/b"}]}))
    system.lay("GET /api/v1/agents/a%2Fb", as_json({}))
    system.lay("GET /api/v1/tasks", as_json({"tasks": []}))
    system.lay("GET /api/v1/search", as_json({}))
    system.lay("GET /api/v1/cache/stats", as_json({"backend": "memory", **COUNTS}))
    system.lay("GET /api/v1/mcp/status", as_json({"bridge_initialized": True}))
    return system


def rows(command: Command, *words: str) -> dict[str, dict[str, Any]]:
    ran = command("check", "--json", *words)
    answer = json.loads(ran.out)
    assert ran.code == (0 if answer["ok"] else 1)
    return {f"{row['method']} {row['path']}": row for row in answer["checks"]}


def test_a_whole_system_passes(command: Command, whole: System) -> None:
    ran = command("check")

    assert ran.code == 0, ran.out
    assert ran.err == "15 checked, 0 bad\n"
    assert "skipped: there is no task_id to read" in ran.out
    assert all(asked.method == "GET" for asked in whole.asked)


@pytest.mark.parametrize(
    ("path", "answer", "note"),
    [
        ("/livez", problem(500, "X", "It broke."), "It broke."),
        ("/api/v1/docs", problem(404, "X", "None."), "None."),
        ("/api/v1/tasks", problem(500, "X", "It broke."), "It broke."),
        ("/health", as_json({"services": {"mcp": "degraded"}}), "mcp is degraded"),
        ("/health", as_json({}), "it names no services"),
        ("/api/v1/mcp/status", as_json({}), "bridge_initialized is not true"),
        ("/api/v1/cache/stats", as_json(COUNTS), "it names no backend"),
        ("/api/v1/cache/stats", as_json({"backend": "redis"}), "it counts nothing"),
        ("/openapi.json", as_json({}), "it describes no operations"),
        ("/api/v1/tasks", Answer(200, "application/json", b"{"), "broken JSON"),
        ("/openapi.json", Answer(200, "application/json", b"{"), "broken JSON"),
    ],
)
def test_one_bad_answer_fails_the_check(
    command: Command, whole: System, path: str, answer: Answer, note: str
) -> None:
    whole.lay(f"GET {path}", answer)

    row = rows(command)[f"GET {path}"]

    assert not row["ok"]
    assert row["note"] == note


def test_a_stream_is_judged_by_its_head(command: Command, whole: System) -> None:
    whole.lay("GET /api/v1/tasks", as_json({"tasks": [{"task_id": "t1"}]}))
    whole.lay("GET /api/v1/tasks/t1", as_json({}))
    whole.lay("GET /api/v1/tasks/t1/events", stream())

    assert rows(command)["GET /api/v1/tasks/t1/events"]["ok"]


def test_writing_makes_rows_of_its_own_and_removes_them(command: Command, whole: System) -> None:
    whole.lay("POST /api/v1/agents", as_json({}, 201))
    whole.lay("POST /api/v1/mcp/servers", problem(403, "Forbidden", "This needs a scope."))

    whole.lay("POST /api/v1/cache/clear", as_json({"cleared": 3}))

    found = rows(command, "--write")

    name = next(asked.body["name"] for asked in whole.asked if asked.method == "POST")
    assert found["POST /api/v1/agents"]["ok"]
    assert not found[f"DELETE /api/v1/agents/{name}"]["ok"]  # the stand-in knows no such path
    assert found["POST /api/v1/mcp/servers"]["status"] == 403
    assert f"DELETE /api/v1/mcp/servers/{name}" not in found
    assert found["POST /api/v1/cache/clear"]["ok"]
