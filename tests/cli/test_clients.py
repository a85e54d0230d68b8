"""Commands that ask a running system."""

import json
from typing import Any

import pytest

from tests.cli.conftest import Command
from tests.cli.system import Answer, System, as_json, problem

SERVER = {
    "name": "files",
    "state": "ready",
    "start": "eager",
    "origin": "file",
    "restarts": 0,
    "reason": "",
}
TOOL = {"server": "files", "name": "read.all", "full_name": "files__read_all_0a1b2c3d"}
TASK = {"task_id": "t1", "task_type": "tool", "status": "queued", "attempt": 0, "created_at": "now"}
CALL = "POST /api/v1/mcp/servers/files/tools/read"


def result(*content: dict[str, Any], is_error: bool = False, **more: Any) -> Answer:
    return as_json({"content": content, "is_error": is_error, "duration_ms": 1.0, **more})


def page(noun: str, *items: Any, cursor: str | None = None) -> Answer:
    return as_json({noun: items, "total_count": 2, "next_cursor": cursor})


def test_a_list_is_read_to_its_end(command: Command, system: System) -> None:
    second = {**SERVER, "name": "web", "state": "backing_off", "reason": "it\x1b[2J\nended"}
    system.lay(
        "GET /api/v1/mcp/servers",
        page("servers", SERVER, cursor="files"),
        page("servers", second),
    )

    ran = command("mcp", "list")

    lines = ran.out.splitlines()
    assert ran.code == 0
    assert lines[0].split() == ["NAME", "STATE", "START", "ORIGIN", "RESTARTS", "REASON"]
    assert lines[1].split() == ["files", "ready", "eager", "file", "0"]
    assert lines[2].endswith("it[2J ended")
    assert "cursor=files" in system.asked[1].target


def test_json_is_the_answer_with_all_its_parts(command: Command, system: System) -> None:
    system.lay(
        "GET /api/v1/mcp/tools",
        page("tools", {"full_name": "a__b"}, cursor="x"),
        page("tools", {"full_name": "c__d"}),
    )

    ran = command("mcp", "tools", "--json", "--server", "s")

    assert json.loads(ran.out) == {
        "tools": [{"full_name": "a__b"}, {"full_name": "c__d"}],
        "total_count": 2,
        "next_cursor": None,
    }
    assert "server=s" in system.asked[0].target


@pytest.mark.parametrize(
    ("words", "sent"),
    [
        ((), {}),
        (('{"a": [1]}',), {"a": [1]}),
        (("a=1", "b=x y", "c=true", 'd="1"', "e=", "f=p=q"),
         {"a": 1, "b": "x y", "c": True, "d": "1", "e": "", "f": "p=q"}),
    ],
)  # fmt: skip
def test_a_call_takes_an_object_or_pairs(
    command: Command, system: System, words: tuple[str, ...], sent: dict[str, Any]
) -> None:
    system.lay(CALL, result({"type": "text", "text": "done"}))

    ran = command("mcp", "call", "files", "read", *words, SUTAZAI_API_KEY="k3y")

    assert (ran.code, ran.out) == (0, "done\n")
    assert system.asked[-1].body == sent
    assert system.asked[-1].headers["authorization"] == "Bearer k3y"


@pytest.mark.parametrize(
    ("full_name", "path"),
    [
        ("files__read", "/api/v1/mcp/servers/files/tools/read"),
        (TOOL["full_name"], "/api/v1/mcp/servers/files/tools/read.all"),
    ],
)
def test_a_full_name_finds_its_tool(
    command: Command, system: System, full_name: str, path: str
) -> None:
    system.lay("GET /api/v1/mcp/tools", page("tools", TOOL))
    system.lay(f"POST {path}", result({"type": "text", "text": "x"}))

    ran = command("mcp", "call", full_name, '{"a": 1}', "--timeout", "5")

    assert ran.code == 0
    assert system.asked[-1].target == f"{path}?timeout_s=5.0"


def test_a_tool_that_reports_failure_fails_the_command(command: Command, system: System) -> None:
    system.lay(CALL, result({"type": "text", "text": "no such file"}, is_error=True))

    ran = command("mcp", "call", "files", "read")

    assert (ran.code, ran.out) == (1, "no such file\n")
    assert "the tool reports failure" in ran.err


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (result({"type": "image", "mimeType": "image/png", "data": "x"}), "[image image/png]\n"),
        (result({"type": "resource", "resource": {"uri": "f:/x", "text": "t"}}), "t\n"),
        (result({"type": "resource_link", "uri": "f:/x"}), "[resource_link f:/x]\n"),
        (result(structured_content={"a": 1}), '{\n  "a": 1\n}\n'),
    ],
)
def test_what_is_no_text_is_named(
    command: Command, system: System, answer: Answer, shown: str
) -> None:
    system.lay(CALL, answer)

    assert command("mcp", "call", "files", "read").out == shown


def test_a_command_is_added_with_everything_after_the_dashes(
    command: Command, system: System
) -> None:
    system.lay("POST /api/v1/mcp/servers", as_json(SERVER, 201))

    ran = command(
        *("mcp", "add", "files", "--env", "A=1", "--env", "TOKEN", "--start", "lazy"),
        *("--", "npx", "-y", "x", "--", "--flag"),
        TOKEN="t0ken",
    )

    assert (ran.code, ran.out) == (0, "Added files.\n")
    assert system.asked[-1].body == {
        "name": "files",
        "command": "npx",
        "args": ["-y", "x", "--", "--flag"],
        "env": {"A": "1", "TOKEN": "t0ken"},
        "start": "lazy",
    }


@pytest.mark.parametrize("act", ["start", "stop", "restart"])
def test_a_server_is_steered(command: Command, system: System, act: str) -> None:
    system.lay(f"POST /api/v1/mcp/servers/files/{act}", as_json(SERVER))

    assert command("mcp", act, "files").out == "files: ready.\n"


def test_a_server_is_removed(command: Command, system: System) -> None:
    system.lay("DELETE /api/v1/mcp/servers/files", Answer(204, "text/plain", b""))

    assert command("mcp", "remove", "files") == (0, "Removed files.\n", "")
    assert json.loads(command("mcp", "remove", "files", "--json").out) is None


def test_a_problem_is_told_in_one_line(command: Command, system: System) -> None:
    system.lay("GET /api/v1/agents/x", problem(404, "Agent not found", "No agent has the id 'x'."))

    ran = command("agents", "show", "x")

    assert ran == (1, "", "error: Agent not found: No agent has the id 'x'.\n")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(502, "text/html", b"<p>"), "error: HTTP 502 Bad Gateway\n"),
        (Answer(200, "text/html", b"<p>"), "is not SutazAI.\n"),
        (Answer(200, "application/json", b"{", cut=True), "broke.\n"),
    ],
)
def test_an_answer_of_something_else_is_no_traceback(
    command: Command, system: System, answer: Answer, said: str
) -> None:
    system.lay("GET /api/v1/agents", answer)

    ran = command("agents", "list")

    assert ran.code == 1
    assert ran.err.endswith(said)


def test_names_cannot_leave_their_place_in_the_path(command: Command, system: System) -> None:
    command("agents", "show", "../tasks?x")

    assert system.asked[0].target == "/api/v1/agents/..%2Ftasks%3Fx"


def test_agents_are_listed_and_shown(command: Command, system: System) -> None:
    agent = {"agent_id": "a", "status": "active", "model": None, "tools": ["x__y", "z__*"]}
    system.lay("GET /api/v1/agents", page("agents", agent))
    system.lay("GET /api/v1/agents/a", as_json(agent))

    assert command("agents", "list").out.splitlines()[1].split() == [
        *("a", "active", "-", "x__y,", "z__*", "-"),
    ]
    assert 'tools     ["x__y", "z__*"]' in command("agents", "show", "a").out


def test_tasks_are_listed_and_shown(command: Command, system: System) -> None:
    system.lay("GET /api/v1/tasks", page("tasks", TASK))
    system.lay("GET /api/v1/tasks/t1", as_json(TASK))
    system.lay("POST /api/v1/tasks/t1/cancel", as_json(TASK, 202))

    assert "t1" in command("tasks", "list", "--status", "queued", "--limit", "3").out
    assert system.asked[0].target == "/api/v1/tasks?status=queued&limit=3"
    system.lay("GET /api/v1/tasks/t1/history", page("events"))
    assert "status      queued" in command("tasks", "show", "t1").out
    assert json.loads(command("tasks", "cancel", "t1", "--json").out) == TASK


def test_a_tool_call_is_submitted(command: Command, system: System) -> None:
    system.lay("POST /api/v1/tasks", as_json(TASK, 201))

    ran = command(
        *("tasks", "submit", "tool", "files", "read", "path=x", "--idempotent"),
        *("--priority", "3", "--deadline-s", "9", "--max-attempts", "2"),
    )

    assert (ran.code, ran.out) == (0, "t1\n")
    assert system.asked[-1].body == {
        "task_type": "tool",
        "payload": {
            "server": "files",
            "tool": "read",
            "arguments": {"path": "x"},
            "idempotent": True,
        },
        "priority": 3,
        "deadline_s": 9.0,
        "max_attempts": 2,
    }


def test_a_task_is_submitted_under_a_name_of_ones_own(command: Command, system: System) -> None:
    system.lay("POST /api/v1/tasks", as_json(TASK, 201))

    assert command("tasks", "submit", "agent", "a", "do it", "--key", "k-1").code == 0
    assert system.asked[-1].headers["idempotency-key"] == "k-1"
    assert command("tasks", "submit", "agent", "a", "do it", "--key", "schlüssel").code == 2
    assert len(system.asked) == 1


def test_an_agents_turn_is_submitted(command: Command, system: System) -> None:
    system.lay("POST /api/v1/tasks", as_json(TASK, 201))

    assert json.loads(command("tasks", "submit", "agent", "a", "do it", "--json").out) == TASK
    assert system.asked[-1].body == {
        "task_type": "agent",
        "payload": {"agent": "a", "message": "do it"},
    }


def test_who_lacks_the_key_learns_where_commands_take_it_from(
    command: Command, system: System
) -> None:
    system.lay("GET /api/v1/agents", problem(401, "Key missing", "This needs a key."))

    ran = command("agents", "list")

    assert ran.code == 1
    assert ran.err == (
        "error: Key missing: This needs a key. Commands take the key from SUTAZAI_API_KEY.\n"
    )


SCHEDULE = {"schedule_id": "s1", "name": "nightly", "cron": "0 3 * * *", "enabled": True}


def test_work_is_scheduled(command: Command, system: System) -> None:
    system.lay("POST /api/v1/schedules", as_json(SCHEDULE, 201))

    ran = command(
        *("schedules", "add", "tool", "nightly", "0 3 * * *", "files", "read", "path=x"),
        *("--timezone", "Europe/Berlin", "--priority", "3"),
    )
    command("schedules", "add", "agent", "n", "* * * * *", "a", "do it", "--conversation", "c")

    assert (ran.code, ran.out.splitlines()[0]) == (0, "schedule_id  s1")
    tool, agent = (asked.body for asked in system.asked)
    assert tool == {
        "name": "nightly",
        "cron": "0 3 * * *",
        "timezone": "Europe/Berlin",
        "task_type": "tool",
        "payload": {"server": "files", "tool": "read", "arguments": {"path": "x"}},
        "priority": 3,
    }
    assert agent["payload"] == {"agent": "a", "message": "do it", "conversation_id": "c"}


def test_schedules_are_listed_paused_resumed_and_removed(command: Command, system: System) -> None:
    system.lay("GET /api/v1/schedules", page("schedules", SCHEDULE))
    system.lay("GET /api/v1/schedules/s1", as_json(SCHEDULE))
    system.lay("PATCH /api/v1/schedules/s1", as_json(SCHEDULE))
    system.lay("DELETE /api/v1/schedules/s1", Answer(204, "application/json", b""))

    assert "0 3 * * *" in command("schedules", "list").out
    assert json.loads(command("schedules", "show", "s1", "--json").out) == SCHEDULE
    for act, enabled in (("pause", False), ("resume", True)):
        assert command("schedules", act, "s1").code == 0
        assert system.asked[-1].body == {"enabled": enabled}
    assert command("schedules", "remove", "s1").out == "Removed s1.\n"
