"""Agents, over a real connection."""

import pytest

from tests.http.world import World

pytestmark = pytest.mark.anyio
AGENTS = "/api/v1/agents"


async def test_an_agent_is_made_found_changed_and_removed(world: World) -> None:
    body = {
        "name": "Code Helper",
        "instructions": "Help with code.",
        "tools": ["toy__echo"],
        "limits": {"max_steps": 3},
    }
    made = await world.client.post(AGENTS, json=body)
    change = {"instructions": "Help.", "limits": {"turn_timeout_s": 1.5}}
    changed = await world.client.patch(f"{AGENTS}/code-helper", json=change)
    found = await world.client.get(f"{AGENTS}/code-helper")
    again = await world.client.post(AGENTS, json=body)
    removed = await world.client.delete(f"{AGENTS}/code-helper")
    gone = await world.client.get(f"{AGENTS}/code-helper")

    assert made.status_code == 201
    assert made.json()["agent_id"] == "code-helper"
    assert made.json()["status"] == "active"
    assert made.json()["limits"] == {"max_steps": 3, "turn_timeout_s": 600.0}
    assert changed.json()["limits"] == {"max_steps": 3, "turn_timeout_s": 1.5}
    assert found.json()["instructions"] == "Help."
    assert found.json()["name"] == "Code Helper"
    assert again.status_code == 409
    assert removed.status_code == 204
    assert removed.content == b""
    assert gone.status_code == 404
    assert gone.json()["agent_id"] == "code-helper"


async def test_lists_count_who_can_work(world: World) -> None:
    lacking = {"name": "b", "instructions": "x", "tools": ["gone__x"], "capabilities": ["dream"]}
    await world.client.post(AGENTS, json=lacking)

    every = (await world.client.get(f"{AGENTS}/list")).json()
    dreamers = (await world.client.get(f"{AGENTS}?capability=dream")).json()
    active = (await world.client.get(f"{AGENTS}?status=active")).json()
    first = (await world.client.get(f"{AGENTS}?limit=1")).json()

    assert [agent["agent_id"] for agent in every["agents"]] == ["b", "general-assistant"]
    assert (every["active_count"], every["total_count"]) == (1, 2)
    assert dreamers["agents"][0]["status"] == "unavailable"
    assert "gone__x" in dreamers["agents"][0]["reason"]
    assert [agent["agent_id"] for agent in active["agents"]] == ["general-assistant"]
    assert (first["total_count"], first["next_cursor"]) == (2, "b")


async def test_an_agents_model_must_exist(world: World) -> None:
    body = {"name": "x", "instructions": "x", "model": "nobody"}
    answer = await world.client.post(AGENTS, json=body)

    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:sutazai:problem:model-not-found"
