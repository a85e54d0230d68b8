"""The real servers that are tried: how each is started, and what a caller does with it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from tests.system.running import System

DOWNLOAD_S = 300
# A first `npx` or `uvx` downloads its package.
RELEASE = "2026.8.31"
# Of the reference servers on npm.


class Real(msgspec.Struct, frozen=True, kw_only=True):
    """One server: its entry, what it lists, and a use of it that checks its answers."""

    entry: dict[str, Any]
    era: str
    tools: int
    use: Callable[[System], None]


def real_servers(folder: Path) -> dict[str, Real]:
    """All seven by name; what they keep lies in `folder`."""
    return {
        "everything": Real(entry=npm("everything"), era="legacy", tools=13, use=use_everything),
        "filesystem": filesystem(folder / "files"),
        "git": git(folder / "repository"),
        "memory": Real(
            entry=npm("memory") | {"env": {"MEMORY_FILE_PATH": str(folder / "memory.jsonl")}},
            era="legacy",
            tools=9,
            use=use_memory,
        ),
        "sequential": Real(
            entry=npm("sequential-thinking"), era="legacy", tools=1, use=use_sequential_thinking
        ),
        "sqlite": Real(
            # Its release bounds nothing, and it dies with the SDK's second major version.
            entry=uvx(
                ["--with", "mcp<2", "mcp-server-sqlite==2025.4.25"],
                ["--db-path", str(folder / "notes.sqlite")],
            ),
            era="legacy",
            tools=6,
            use=use_sqlite,
        ),
        "time": Real(
            entry={"command": sys.executable, "args": ["-m", "mcp_server_time"]},
            era="modern",
            tools=2,
            use=use_time,
        ),
    }


def npm(name: str, *arguments: str) -> dict[str, Any]:
    package = f"@modelcontextprotocol/server-{name}@{RELEASE}"
    return {
        "command": "npx",
        "args": ["-y", package, *arguments],
        "sutazai": {"start_timeout_s": DOWNLOAD_S},
    }


def uvx(release: list[str], arguments: list[str]) -> dict[str, Any]:
    return {
        "command": "uvx",
        "args": [*release, *arguments],
        "sutazai": {"start_timeout_s": DOWNLOAD_S},
    }


def filesystem(files: Path) -> Real:
    files.mkdir()

    def use(system: System) -> None:
        greeting = str(files / "greeting.txt")
        said(system, "filesystem", "write_file", path=greeting, content="hello from a file")
        assert said(system, "filesystem", "read_text_file", path=greeting) == "hello from a file"
        assert "greeting.txt" in said(system, "filesystem", "list_directory", path=str(files))
        outside = called(system, "filesystem", "read_text_file", path=str(files.parent / "no"))
        assert outside["is_error"] is True

    return Real(entry=npm("filesystem", str(files)), era="legacy", tools=14, use=use)


def git(repository: Path) -> Real:
    subprocess.run(["git", "init", "--quiet", str(repository)], check=True)
    (repository / "new.txt").write_text("new", "utf-8")

    def use(system: System) -> None:
        where = str(repository)
        assert "Untracked files:\n" in said(system, "git", "git_status", repo_path=where)
        said(system, "git", "git_add", repo_path=where, files=["new.txt"])
        status = said(system, "git", "git_status", repo_path=where)
        assert "new file:   new.txt" in status
        assert "Untracked" not in status

    return Real(entry=uvx(["mcp-server-git==2026.10.19"], []), era="modern", tools=12, use=use)


def use_everything(system: System) -> None:
    assert said(system, "everything", "echo", message="hi") == "Echo: hi"
    call = {
        "server": "everything",
        "tool": "trigger-long-running-operation",
        "arguments": {"duration": 1.5, "steps": 3},
    }
    task = system.post("/api/v1/tasks", {"task_type": "tool", "payload": call}, 201)
    events = system.client.get(f"/api/v1/tasks/{task['task_id']}/events").text
    assert system.finished(task["task_id"])["status"] == "succeeded"
    reports = [block for block in events.split("\n\n") if "event: progress\n" in block]
    steps = [json.loads(block.partition("data: ")[2]) for block in reports]
    assert [(step["progress"], step["total"]) for step in steps] == [(1, 3), (2, 3), (3, 3)]


def use_memory(system: System) -> None:
    entity = {"name": "Ada", "entityType": "person", "observations": ["wrote notes"]}
    said(system, "memory", "create_entities", entities=[entity])
    assert "wrote notes" in said(system, "memory", "search_nodes", query="Ada")
    assert "Ada" not in said(system, "memory", "search_nodes", query="Charles")


def use_sequential_thinking(system: System) -> None:
    for number in (1, 2):
        thought = json.loads(
            said(
                system,
                "sequential",
                "sequentialthinking",
                thought=f"thought {number}",
                thoughtNumber=number,
                totalThoughts=2,
                nextThoughtNeeded=number < 2,
            )
        )
        assert (thought["thoughtNumber"], thought["thoughtHistoryLength"]) == (number, number)


def use_sqlite(system: System) -> None:
    said(system, "sqlite", "create_table", query="CREATE TABLE notes (id INTEGER, text TEXT)")
    said(system, "sqlite", "write_query", query="INSERT INTO notes VALUES (1, 'one'), (2, 'two')")
    found = said(system, "sqlite", "read_query", query="SELECT text FROM notes WHERE id = 2")
    assert "'two'" in found
    assert "'one'" not in found


def use_time(system: System) -> None:
    places = {"source_timezone": "Asia/Tokyo", "target_timezone": "Asia/Kolkata"}
    converted = json.loads(said(system, "time", "convert_time", time="12:00", **places))
    assert converted["time_difference"] == "-3.5h"
    assert converted["target"]["datetime"][11:16] == "08:30"


def called(system: System, server: str, tool: str, within: float = 60, **arguments: Any) -> Any:
    """The whole answer of a call that the server took."""
    path = f"/api/v1/mcp/servers/{server}/tools/{tool}?timeout_s={within}"
    return system.post(path, arguments)


def said(system: System, server: str, tool: str, **arguments: Any) -> str:
    """The first text of a call that succeeds."""
    result = called(system, server, tool, **arguments)
    assert result["is_error"] is False, result
    return str(result["content"][0]["text"])
