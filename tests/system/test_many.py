"""Several API processes on one database: whatever is done at one of them the others know."""

import signal
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from domain.orchestration.roster import POLL_S
from tests.system.conftest import Make
from tests.system.crew import ROOT
from tests.system.running import System, eventually

LEASE_S = 10.0
CANCEL_S = 3.0
ECHO = str(Path(ROOT) / "tests" / "fixtures" / "mcp_servers" / "echo.py")
ADDED = {"name": "added", "command": sys.executable, "args": [ECHO]}
HELD = {"server": "sutazai", "tool": "wait", "arguments": {"seconds": 60}, "idempotent": True}


@pytest.fixture
def here(make: Make, database: str) -> System:
    system = make(database_url=database, drain_s="1").start()
    system.until_ready("sutazai")
    return system


@pytest.fixture
def there(here: System, make: Make, database: str) -> System:
    system = make(database_url=database, drain_s="1").start()
    system.until_ready("sutazai")
    return system


def submit(system: System, payload: Any) -> str:
    body = {"task_type": "tool", "payload": payload}
    return str(system.post("/api/v1/tasks", body, status=201)["task_id"])


def tools(system: System) -> set[str]:
    return {tool["name"] for tool in system.get("/api/v1/mcp/tools", server="added")["tools"]}


def names(system: System) -> set[str]:
    listed = system.get("/api/v1/mcp/servers", limit=200)["servers"]
    return {server["name"] for server in listed}


def test_a_server_that_is_added_at_one_is_known_and_used_at_the_other(
    here: System, there: System
) -> None:
    here.post("/api/v1/mcp/servers", ADDED, status=201)
    called = there.post("/api/v1/mcp/servers/added/tools/echo", {"text": "hello"})
    assert called["content"][0]["text"] == "hello"
    assert tools(there) == tools(here) == {"echo"}
    pids = [system.until_ready("added")["pid"] for system in (here, there)]
    work = {"server": "added", "tool": "echo", "arguments": {"text": "hello"}}
    assert there.finished(submit(there, work))["status"] == "succeeded"

    here.client.delete("/api/v1/mcp/servers/added").raise_for_status()
    eventually(lambda: "added" not in names(there), POLL_S + 3)
    gone = there.client.get("/api/v1/mcp/servers/added")
    assert gone.status_code == httpx.codes.NOT_FOUND
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_server_that_is_added_at_one_is_listed_at_the_other_and_left_alone(
    here: System, there: System
) -> None:
    there.post("/api/v1/mcp/servers", ADDED, status=201)
    eventually(lambda: "added" in names(here), POLL_S + 3)
    pids = [system.until_ready("added")["pid"] for system in (here, there)]
    twice = here.client.post("/api/v1/mcp/servers", json={**ADDED, "name": "second"})
    assert twice.is_success
    eventually(lambda: "second" in names(there), POLL_S + 3)  # it has looked at the store again
    assert [system.server("added")["pid"] for system in (here, there)] == pids
    again = here.client.post("/api/v1/mcp/servers", json=ADDED)
    assert again.status_code == httpx.codes.CONFLICT


def test_a_task_is_seen_and_cancelled_at_whichever(here: System, there: System) -> None:
    tasks = [submit(here, HELD) for _ in range(2)]
    for task in tasks:
        eventually(lambda task=task: there.get(f"/api/v1/tasks/{task}").get("progress"))  # type: ignore[misc]
        there.post(f"/api/v1/tasks/{task}/cancel", status=202)
        path = f"/api/v1/tasks/{task}"
        eventually(lambda path=path: here.get(path)["status"] == "cancelled", CANCEL_S)  # type: ignore[misc]


def test_the_tasks_of_a_killed_system_go_on_at_the_other(here: System, there: System) -> None:
    quick = HELD | {"arguments": {"seconds": 3}}
    tasks = [submit(here, quick) for _ in range(30)]
    eventually(lambda: here.get(f"/api/v1/tasks/{tasks[0]}")["status"] == "running")
    here.end(signal.SIGKILL)
    for task in tasks:
        path = f"/api/v1/tasks/{task}"
        eventually(lambda path=path: there.get(path)["status"] == "succeeded", LEASE_S + 10)  # type: ignore[misc]
    attempts = {there.get(f"/api/v1/tasks/{task}")["attempt"] for task in tasks}
    assert attempts <= {1, 2}
    assert 2 in attempts


def test_a_conversation_goes_on_at_the_other(here: System, there: System) -> None:
    first = here.post("/api/v1/chat", {"message": "Hello."})
    message = {"message": "And again.", "conversation_id": first["conversation_id"]}
    second = there.post("/api/v1/chat", message)
    assert second["conversation_id"] == first["conversation_id"]
    path = f"/api/v1/conversations/{first['conversation_id']}"
    assert here.get(path) == there.get(path)
    assert len(here.get(path)["messages"]) == 4
