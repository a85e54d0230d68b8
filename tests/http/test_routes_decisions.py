"""Decisions over HTTP."""

from datetime import timedelta
from typing import Any

import pytest

from domain.model.callers import LOCAL
from domain.model.decisions import DecisionId, DecisionKind, Question
from domain.model.tasks import TaskId
from domain.ports.decisions import NewDecision
from tests.contracts.storage import WORKER, hold_of, tool_task
from tests.http.world import World

pytestmark = pytest.mark.anyio
DECISIONS = "/api/v1/decisions"
QUESTION = Question(
    call_id="call", server="toy", tool="echo", arguments={"n": 1}, reason="The server broke."
)


async def asked(world: World, task_id: str = "t1") -> str:
    """The id of the decision that a task waits for."""
    new = NewDecision(
        decision_id=DecisionId(f"d-{task_id}"),
        kind=DecisionKind.INDETERMINATE,
        question=QUESTION,
    )
    async with world.transactions.begin() as transaction:
        await transaction.tasks.add(tool_task(task_id, owner=LOCAL.id))
        claimed = await transaction.queue.claim(
            WORKER, timedelta(minutes=1), 1, only=TaskId(task_id)
        )
        await transaction.decisions.ask(hold_of(claimed[0]), new)
    return new.decision_id


async def test_an_open_decision_is_listed_and_read(world: World) -> None:
    decision_id = await asked(world)
    await asked(world, "t2")

    listed = (await world.client.get(f"{DECISIONS}?status=open&task_id=t1")).json()
    read = (await world.client.get(f"{DECISIONS}/{decision_id}")).json()
    task = (await world.client.get("/api/v1/tasks/t1")).json()

    assert listed == {"decisions": [read], "total_count": 1, "next_cursor": None}
    assert read.pop("created_at")
    assert read == {
        "decision_id": decision_id,
        "task_id": "t1",
        "kind": "indeterminate",
        "status": "open",
        "question": {
            "server": "toy",
            "tool": "echo",
            "arguments": {"n": 1},
            "reason": "The server broke.",
        },
        "owner": "local",
    }
    assert task["status"] == "waiting"
    assert (await world.client.get(f"{DECISIONS}?status=closed")).json()["decisions"] == []


async def test_a_known_result_ends_the_task_and_closes_the_decision(world: World) -> None:
    decision_id = await asked(world)
    content = [{"type": "text", "text": "it was sent"}]
    body = {"decision": "done", "result": {"content": content}}

    answer = await world.client.post(f"{DECISIONS}/{decision_id}", json=body)
    again = await world.client.post(f"{DECISIONS}/{decision_id}", json={"decision": "repeat"})
    task = (await world.client.get("/api/v1/tasks/t1")).json()

    said = answer.json()
    assert answer.status_code == 200
    assert (said["status"], said["decision"], said["decided_by"]) == ("closed", "done", "local")
    assert again.status_code == 409
    assert again.json()["type"] == "urn:sutazai:problem:decision-closed"
    assert (task["status"], task["result"]["content"]) == ("succeeded", content)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"decision": "void"},
        {"decision": "repeat", "result": {"content": []}},
        {"decision": "done", "result": {"content": [{"text": "of no type"}]}},
        {"decision": "done", "result": {"content": "text"}},
        {"decision": "done", "result": {"isError": True}},
    ],
)
async def test_a_word_that_does_not_fit_is_refused(world: World, body: dict[str, Any]) -> None:
    decision_id = await asked(world)

    answer = await world.client.post(f"{DECISIONS}/{decision_id}", json=body)

    assert answer.status_code == 422
    assert (await world.client.get(f"{DECISIONS}/{decision_id}")).json()["status"] == "open"


async def test_unknown_decisions_are_not_found(world: World) -> None:
    assert (await world.client.get(f"{DECISIONS}/nothing")).status_code == 404
    body = {"decision": "fail"}
    assert (await world.client.post(f"{DECISIONS}/nothing", json=body)).status_code == 404
    assert (await world.client.get(f"{DECISIONS}?status=dance")).status_code == 400
