"""What a newcomer sees: a system that works with nothing installed, and says how it is."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from domain.orchestration.known import KNOWN
from tests.system.conftest import Make
from tests.system.running import System, eventually

ECHO_SERVER = Path(__file__).parents[1] / "fixtures" / "mcp_servers" / "echo.py"
ECHO = "/api/v1/mcp/servers/sutazai/tools/echo"


@pytest.fixture
def system(make: Make) -> System:
    return make().start()


def test_it_works_at_once(system: System) -> None:
    called = system.post(ECHO, {"text": "hello"})
    assert called["content"][0] == {"type": "text", "text": "hello"}
    assert called["is_error"] is False
    assert system.get("/health")["services"] == {
        "database": "healthy",
        "cache": "healthy",
        "mcp": "healthy",
        "docker": "disabled",
        "models": "disabled",
        "tasks": "healthy",
    }
    status = system.get("/api/v1/mcp/status")
    assert status["bridge_initialized"] is True
    assert status["service_count"] == 1 + len(KNOWN)
    assert set(status["states"]) == {"ready", "idle", "disabled"}
    summary = system.get("/api/v1/mcp/health")["summary"]
    assert summary["total"] == status["service_count"] - status["states"]["disabled"]
    assert (summary["unhealthy"], summary["percentage_healthy"]) == (0, 100.0)
    assert "known, idle until first used" in system.log


def test_the_first_call_of_a_known_server_starts_it(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uvx = tmp_path / "uvx"
    uvx.write_text(f'#!/bin/sh\necho "$*" >&2\nexec {sys.executable} -m mcp_server_time\n')
    uvx.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    system = make().start()
    before = system.get("/api/v1/mcp/servers/ddg")
    assert (before["origin"], before["start"], before["state"]) == ("known", "lazy", "idle")
    lacking = system.get("/api/v1/mcp/servers/files")
    assert (lacking["state"], lacking["reason"]) == ("disabled", "it needs the argument DIR.")
    called = system.post(
        "/api/v1/mcp/servers/ddg/tools/get_current_time", {"timezone": "Europe/Berlin"}
    )
    assert "Europe/Berlin" in called["content"][0]["text"]
    assert system.server("ddg")["state"] == "ready"
    log = system.get("/api/v1/mcp/servers/ddg")["log_tail"]
    assert "--from duckduckgo-mcp-server==0.7.0 duckduckgo-mcp-server" in log
    assert system.client.delete("/api/v1/mcp/servers/ddg").status_code == 409


def test_an_agent_uses_a_tool_in_a_chat_that_outlives_a_restart(system: System) -> None:
    message = 'Please.\n/tool sutazai__echo {"text": "from the tool"}'
    answer = system.post("/api/v1/chat", {"message": message})
    (call,) = answer["tool_calls"]
    assert (call["server"], call["tool"], call["is_error"]) == ("sutazai", "echo", False)
    assert call["arguments"] == {"text": "from the tool"}
    assert "from the tool" in answer["response"]
    conversation = f"/api/v1/conversations/{answer['conversation_id']}"
    before = system.get(conversation)
    assert system.end() == 0
    system.start()
    assert system.get(conversation) == before
    assert [entry["role"] for entry in before["messages"]] == [
        "user",
        "assistant",
        "tool",
        "assistant",
    ]


def test_a_chat_right_after_a_server_was_added_may_use_its_tools(system: System) -> None:
    late = {"command": "/bin/sh", "args": ["-c", f"sleep 1; exec {sys.executable} {ECHO_SERVER}"]}
    system.post("/api/v1/mcp/servers", late | {"name": "late"}, status=201)
    answer = system.post("/api/v1/chat", {"message": '/tool late__echo {"text": "in time"}'})
    (call,) = answer["tool_calls"]
    assert (call["server"], call["is_error"]) == ("late", False)
    assert "in time" in answer["response"]


def test_servers_of_a_file_are_listed_and_one_bad_entry_disturbs_nothing(make: Make) -> None:
    system = make(
        {
            "time": {"command": sys.executable, "args": ["-m", "mcp_server_time"]},
            "broken": {"command": "no-such-command-anywhere"},
        }
    ).start()
    system.until_ready("time")
    broken = system.server("broken")
    assert broken["healthy"] is False
    assert "no-such-command-anywhere" in broken["reason"]
    names = {tool["full_name"] for tool in system.get("/api/v1/mcp/tools")["tools"]}
    assert {"time__get_current_time", "sutazai__echo"} <= names
    called = system.post(
        "/api/v1/mcp/servers/time/tools/get_current_time", {"timezone": "Europe/Berlin"}
    )
    assert "Europe/Berlin" in called["content"][0]["text"]
    health = system.get("/health")
    assert health["services"]["mcp"] == "degraded"
    assert "broken" in health["details"]["mcp"]["reason"]


def test_a_server_added_by_the_api_outlives_a_restart_and_is_removed_for_good(
    system: System,
) -> None:
    entry = {"name": "added", "command": sys.executable, "args": ["-m", "mcp_server_time"]}
    system.post("/api/v1/mcp/servers", entry | {"env": {"TOKEN": "s3cret"}}, status=201)
    system.until_ready("added")
    system.end()
    system.start()
    system.until_ready("added")
    assert "s3cret" not in system.client.get("/api/v1/mcp/servers").text
    assert system.client.delete("/api/v1/mcp/servers/added").status_code == 204
    assert system.client.get("/api/v1/mcp/servers/added").status_code == 404
    assert "s3cret" not in system.log


def test_a_killed_server_shows_within_a_second_and_comes_back(system: System) -> None:
    pid = system.until_ready("sutazai")["pid"]
    os.kill(pid, signal.SIGKILL)
    killed_at = time.monotonic()
    down = eventually(lambda: (s := system.server("sutazai"))["state"] != "ready" and s, 1.0)
    assert down["reason"] == "the process ended by signal 9"
    assert down["healthy"] is False
    refused = system.client.post(ECHO, json={"text": "now?"})
    assert time.monotonic() - killed_at < 1.5
    assert refused.status_code == 503
    assert "signal 9" in refused.json()["detail"]
    assert int(refused.headers["Retry-After"]) >= 1
    back = system.until_ready("sutazai")
    assert back["restarts"] == 1
    assert back["pid"] != pid
    system.post(ECHO, {"text": "again"})
