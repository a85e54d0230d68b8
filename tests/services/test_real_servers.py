"""Real MCP servers from npm and PyPI behind the whole system."""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.system.running import System, eventually

pytestmark = [pytest.mark.services, pytest.mark.timeout(420)]

DOWNLOAD_S = 300
# A first `npx` downloads its package.
RELEASE = "2026.8.31"


def npm(name: str, *arguments: str) -> dict[str, Any]:
    package = f"@modelcontextprotocol/server-{name}@{RELEASE}"
    return {
        "command": "npx",
        "args": ["-y", package, *arguments],
        "sutazai": {"start_timeout_s": DOWNLOAD_S},
    }


def test_four_real_servers_are_listed_and_called_and_a_fifth_disturbs_nothing(
    tmp_path: Path,
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "greeting.txt").write_text("hello from a file", "utf-8")
    system = System(
        tmp_path,
        {
            "everything": npm("everything"),
            "filesystem": npm("filesystem", str(files)),
            "memory": npm("memory") | {"env": {"MEMORY_FILE_PATH": str(tmp_path / "memory.jsonl")}},
            "time": {"command": sys.executable, "args": ["-m", "mcp_server_time"]},
            "absent": {"command": "no-such-command-anywhere"},
        },
    )
    try:
        check(system.start(), files)
        assert system.end() == 0
        eventually(lambda: not system.marked(), 3)
    finally:
        system.close()


def check(system: System, files: Path) -> None:
    for name in ("everything", "filesystem", "memory", "time"):
        system.until_ready(name, DOWNLOAD_S)
    offered = Counter(
        tool["server"] for tool in system.get("/api/v1/mcp/tools", limit=200)["tools"]
    )
    assert offered == {"everything": 13, "filesystem": 14, "memory": 9, "time": 2, "sutazai": 9}
    assert "greeting.txt" in text_of(system, "filesystem", "list_directory", path=str(files))
    read = text_of(system, "filesystem", "read_text_file", path=str(files / "greeting.txt"))
    assert read == "hello from a file"
    assert text_of(system, "everything", "echo", message="hi") == "Echo: hi"
    entity = {"name": "Ada", "entityType": "person", "observations": ["wrote notes"]}
    text_of(system, "memory", "create_entities", entities=[entity])
    assert "wrote notes" in text_of(system, "memory", "read_graph")
    assert "UTC" in text_of(system, "time", "get_current_time", timezone="UTC")
    absent = system.server("absent")
    assert "no-such-command-anywhere" in absent["reason"]
    assert system.get("/health")["services"]["mcp"] == "degraded"
    message = f'/tool filesystem__list_directory {{"path": "{files}"}}'
    assert "greeting.txt" in system.post("/api/v1/chat", {"message": message})["response"]


def text_of(system: System, server: str, tool: str, **arguments: Any) -> str:
    result = system.post(f"/api/v1/mcp/servers/{server}/tools/{tool}", arguments)
    assert result["is_error"] is False, result
    return str(result["content"][0]["text"])
