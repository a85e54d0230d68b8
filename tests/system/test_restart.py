"""Tasks over the end of their worker's process: repeated where that is known to be harmless."""

import signal
from typing import Any

import pytest

from tests.system.conftest import Make
from tests.system.running import System, eventually

SLOW = {"server": "sutazai", "tool": "wait", "arguments": {"seconds": 2}}


def killed_in_mid_call(system: System, payload: dict[str, Any]) -> Any:
    """The end of a task whose system was killed while its call was under way."""
    submitted = system.post("/api/v1/tasks", {"task_type": "tool", "payload": payload}, status=201)
    path = f"/api/v1/tasks/{submitted['task_id']}"
    assert submitted["status"] == "queued"
    eventually(lambda: system.get(path).get("progress"))
    system.end(signal.SIGKILL)
    system.start()
    return system.finished(submitted["task_id"])


@pytest.fixture
def system(make: Make) -> System:
    system = make().start()
    system.until_ready("sutazai")
    return system


def test_an_idempotent_call_is_made_again(system: System) -> None:
    task = killed_in_mid_call(system, SLOW | {"idempotent": True})
    assert (task["status"], task["attempt"]) == ("succeeded", 2)
    assert task["result"]["is_error"] is False


def test_a_call_that_may_have_had_its_effect_is_not(system: System) -> None:
    task = killed_in_mid_call(system, SLOW)
    assert (task["status"], task["error"]["reason"]) == ("failed", "indeterminate")


def test_a_cancelled_call_ends_at_once(system: System) -> None:
    payload = SLOW | {"arguments": {"seconds": 50}}
    body = {"task_type": "tool", "payload": payload}
    task_id = system.post("/api/v1/tasks", body, status=201)["task_id"]
    eventually(lambda: system.get(f"/api/v1/tasks/{task_id}").get("progress"))
    system.post(f"/api/v1/tasks/{task_id}/cancel", status=202)
    task = eventually(
        lambda: (t := system.get(f"/api/v1/tasks/{task_id}"))["status"] == "cancelled" and t, 3
    )
    assert task["finished_at"] is not None
    assert system.client.post(f"/api/v1/tasks/{task_id}/cancel").status_code == 409


def test_a_request_sent_again_after_a_kill_is_answered_as_the_first_was(system: System) -> None:
    body = {"task_type": "tool", "payload": SLOW | {"idempotent": True}}
    answers = []
    for _ in range(2):
        answers.append(
            system.client.post("/api/v1/tasks", json=body, headers={"idempotency-key": '"k"'})
        )
        system.end(signal.SIGKILL)
        system.start()
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].content == answers[1].content
    assert system.get("/api/v1/tasks")["total_count"] == 1
