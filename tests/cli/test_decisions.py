"""Questions about calls of unknown effect, at a terminal."""

import json

import pytest

from tests.cli.conftest import Command
from tests.cli.system import System, as_json, problem

DECISION = {
    "decision_id": "d1",
    "task_id": "t1",
    "kind": "indeterminate",
    "status": "open",
    "question": {
        "server": "bank",
        "tool": "pay",
        "arguments": {"to": "me"},
        "reason": "Its worker died in mid-call.",
    },
    "owner": "local",
    "created_at": "now",
}
DECIDED = DECISION | {"status": "closed", "decision": "done", "decided_by": "local"}


def test_what_waits_is_listed_and_with_all_what_is_decided_too(
    command: Command, system: System
) -> None:
    lone = {"decisions": [DECISION], "total_count": 1, "next_cursor": None}
    system.lay("GET /api/v1/decisions", as_json(lone))
    told = command("decisions", "list").out
    assert "bank/pay" in told
    assert "Its worker died in mid-call." in told
    assert "status=open" in system.asked[-1].target
    assert json.loads(command("decisions", "list", "--all", "--json").out)["total_count"] == 1
    assert "status=" not in system.asked[-1].target


def test_one_is_shown_and_decided(command: Command, system: System) -> None:
    system.lay("GET /api/v1/decisions/d1", as_json(DECISION))
    system.lay("POST /api/v1/decisions/d1", as_json(DECIDED))
    assert json.loads(command("decisions", "show", "d1", "--json").out) == DECISION
    assert command("decisions", "decide", "d1", "repeat").code == 0
    assert system.asked[-1].body == {"decision": "repeat"}
    assert "done" in command("decisions", "decide", "d1", "done", "--text", "paid").out
    assert system.asked[-1].body == {
        "decision": "done",
        "result": {"content": [{"type": "text", "text": "paid"}]},
    }


def test_a_word_that_is_none_and_a_decision_that_came_too_late_are_told(
    command: Command, system: System
) -> None:
    with pytest.raises(SystemExit):
        command("decisions", "decide", "d1", "perhaps")
    system.lay("POST /api/v1/decisions/d1", problem(409, "Conflict", "It is decided already."))
    late = command("decisions", "decide", "d1", "fail")
    assert late.code == 1
    assert "It is decided already." in late.err
