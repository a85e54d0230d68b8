"""The mesh and its breakers, over a real connection."""

import pytest

from tests.http.world import World

pytestmark = pytest.mark.anyio
BREAKERS = "/api/v1/circuit-breakers"


async def test_the_mesh_in_short(world: World) -> None:
    said = (await world.client.get("/api/v1/mesh/status")).json()

    assert said.pop("timestamp").endswith("Z")
    # The engine of this world is disabled and does not count.
    assert said == {
        "status": "healthy",
        "instances": 3,
        "healthy": 3,
        "in_flight": 0,
        "waiting": 0,
    }


async def test_the_mesh_names_what_answers(world: World) -> None:
    await world.client.post("/api/v1/mcp/servers/toy/tools/echo", json={"arguments": {}})
    said = (await world.client.get("/api/v1/mesh/services")).json()

    assert said["total_count"] == len(said["services"]) == 4
    toy, model, *_ = said["services"]
    assert toy["latency_ms"] >= 0
    assert {key: toy[key] for key in ("name", "kind", "state", "weight", "breaker")} == {
        "name": "toy",
        "kind": "server",
        "state": "ready",
        "weight": 1,
        "breaker": "closed",
    }
    assert (model["name"], model["kind"], model["state"]) == ("held", "model", "idle")


async def test_breakers_are_listed_and_reset(world: World) -> None:
    said = (await world.client.get(BREAKERS)).json()
    server = await world.client.post(f"{BREAKERS}/server:toy/reset")
    model = await world.client.post(f"{BREAKERS}/held/reset")

    assert said["total_count"] == 2
    assert [view["name"] for view in said["breakers"]] == ["server:toy", "model:held"]
    assert (server.status_code, server.json()["state"]) == (200, "closed")
    assert (model.json()["name"], model.json()["retry_at"]) == ("model:held", None)


@pytest.mark.parametrize("name", ["server:held", "nobody", "model:owner/name"])
async def test_a_breaker_that_is_not_there_is_404(world: World, name: str) -> None:
    answer = await world.client.post(f"{BREAKERS}/{name}/reset")

    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:sutazai:problem:breaker-not-found"
