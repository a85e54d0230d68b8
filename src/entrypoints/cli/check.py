"""`sutazai check`: read every endpoint of a running system and judge its answers."""

import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from domain.errors import Failure
from entrypoints.cli.client import BROKEN_JSON, Client, segment
from entrypoints.cli.context import DONE, FAILED, Context

UNDESCRIBED = ("/livez", "/readyz", "/health-emergency", "/docs", "/api/v1/docs")
# Pages and probes that stand beside the described operations.
DESCRIPTION = "/openapi.json"
OK = frozenset({200, 201})
FIRST_OF: Mapping[str, tuple[str, str, str]] = {
    "agent_id": ("/api/v1/agents", "agents", "agent_id"),
    "conversation_id": ("/api/v1/conversations", "conversations", "conversation_id"),
    "task_id": ("/api/v1/tasks", "tasks", "task_id"),
    "schedule_id": ("/api/v1/schedules", "schedules", "schedule_id"),
    "decision_id": ("/api/v1/decisions", "decisions", "decision_id"),
    "container_id": ("/api/v1/mcp/dind/status", "containers", "container_id"),
    "server": ("/api/v1/mcp/servers", "servers", "name"),
    "name": ("/api/v1/mcp/servers", "servers", "name"),
}
# Where the first value of a path's parameter is found: list, noun, key.
WELL = frozenset({"healthy", "disabled"})


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One request and what was thought of its answer. `status` is None where none was made."""

    method: str
    path: str
    status: int | None
    ok: bool
    ms: float = 0.0
    note: str = ""


def check(context: Context, client: Client) -> int:
    """Exit code 0 only if every answer is as it should be."""
    rows = list(reads(client))
    if context.args.write:
        rows.extend(writes(client))
    if context.json:
        checks = msgspec.to_builtins(rows)
        context.terminal.json({"ok": all(row.ok for row in rows), "checks": checks})
    else:
        context.terminal.table(
            ("", "METHOD", "PATH", "STATUS", "MS", "NOTE"),
            (
                (
                    "ok" if row.ok else "BAD",
                    row.method,
                    row.path,
                    row.status,
                    f"{row.ms:.0f}",
                    row.note,
                )
                for row in rows
            ),
        )
    bad = sum(not row.ok for row in rows)
    context.terminal.complain(f"{len(rows)} checked, {bad} bad")
    return FAILED if bad else DONE


def reads(client: Client) -> Iterator[Row]:
    """Every GET that the system describes, and those that it must have."""
    for path in (*UNDESCRIBED, DESCRIPTION):
        yield _read(client, path)
    _, _, described = client.status_of(DESCRIPTION)
    paths: dict[str, Any] = described.get("paths", {}) if isinstance(described, dict) else {}
    operations = {path: item["get"] for path, item in paths.items() if "get" in item}
    for path in sorted({*operations, *JUDGES} - {*UNDESCRIBED, DESCRIPTION}):
        yield _read_described(client, path, operations.get(path, {}))


def _read_described(client: Client, path: str, operation: Mapping[str, Any]) -> Row:
    filled, missing = path, ""
    for name in re.findall(r"\{([^}]*)\}", path):
        value = _first(client, name)
        missing = missing or ("" if value is not None else name)
        filled = filled.replace(f"{{{name}}}", segment(value or ""))
    if missing:
        note = f"skipped: there is no {missing} to read"
        return Row(method="GET", path=path, status=None, ok=True, note=note)
    query = {
        parameter["name"]: "check"
        for parameter in operation.get("parameters", ())
        if parameter.get("in") == "query" and parameter.get("required")
    }
    return _read(client, filled, query)


def _first(client: Client, parameter: str) -> str | None:
    if parameter not in FIRST_OF:
        return None
    path, noun, key = FIRST_OF[parameter]
    status, _, answer = client.status_of(path, {"limit": 1})
    items = answer.get(noun) if status in OK and isinstance(answer, dict) else None
    return str(items[0][key]) if items else None


def _read(client: Client, path: str, query: Mapping[str, Any] | None = None) -> Row:
    begun = time.monotonic()
    status, media_type, answer = client.status_of(path, query)
    ms = (time.monotonic() - begun) * 1000
    note = "" if status in OK else _said(answer) or media_type
    if media_type == BROKEN_JSON:
        note = media_type
    elif status in OK and path in JUDGES:
        note = JUDGES[path](answer if isinstance(answer, dict) else {})
    return Row(
        method="GET", path=path, status=status, ok=status in OK and not note, ms=ms, note=note
    )


def _said(answer: Any) -> str:
    return str(answer.get("detail", "")) if isinstance(answer, dict) else ""


def _judge_health(answer: Mapping[str, Any]) -> str:
    services = answer.get("services", {})
    sick = [f"{name} is {state}" for name, state in services.items() if state not in WELL]
    return ", ".join(sick) if services else "it names no services"


def _judge_description(answer: Mapping[str, Any]) -> str:
    return "" if answer.get("paths") else "it describes no operations"


def _judge_mcp(answer: Mapping[str, Any]) -> str:
    return "" if answer.get("bridge_initialized") is True else "bridge_initialized is not true"


def _judge_cache(answer: Mapping[str, Any]) -> str:
    counts = [answer.get(name) for name in ("entries", "hits", "misses", "evictions")]
    if not answer.get("backend"):
        return "it names no backend"
    return "" if all(type(count) is int for count in counts) else "it counts nothing"


JUDGES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    DESCRIPTION: _judge_description,
    "/health": _judge_health,
    "/api/v1/cache/stats": _judge_cache,
    "/api/v1/mcp/status": _judge_mcp,
}
# What an answer must say beside its status; what is missing is the note.


def writes(client: Client) -> Iterator[Row]:
    """Make rows of our own, read them, and take them away again; empty the cache."""
    name = f"check-{secrets.token_hex(4)}"
    agent = {"name": name, "agent_id": name, "instructions": "Made by `sutazai check`."}
    yield from _round(client, "/api/v1/agents", agent, name)
    server = {"name": name, "command": "true", "start": "disabled"}
    yield from _round(client, "/api/v1/mcp/servers", server, name)
    yield _act(client, "POST", "/api/v1/cache/clear")


def _round(client: Client, path: str, body: Mapping[str, Any], key: str) -> Iterator[Row]:
    made = _act(client, "POST", path, body)
    yield made
    if made.ok:
        yield _read(client, f"{path}/{key}")
        yield _act(client, "DELETE", f"{path}/{key}")


def _act(client: Client, method: str, path: str, body: Mapping[str, Any] | None = None) -> Row:
    begun = time.monotonic()
    try:
        client.ask(method, path, body=body)
    except Failure as failure:
        status, note = failure.details.get("status"), failure.message
    else:
        status, note = 200, ""
    ms = (time.monotonic() - begun) * 1000
    return Row(
        method=method,
        path=path,
        status=status if isinstance(status, int) else None,
        ok=not note,
        ms=ms,
        note=note,
    )
