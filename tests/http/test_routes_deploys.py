"""Deploys over HTTP, with the twin of an engine."""

import asyncio

import pytest

from tests.http.world import World

pytestmark = pytest.mark.anyio

DEPLOY = "/api/v1/mcp/deploy"
STATUS = "/api/v1/mcp/dind/status"
BOX = {"name": "boxed", "image": "box:1"}


async def until_ready(world: World) -> None:
    async with asyncio.timeout(5):
        while world.mcp.record("boxed").state != "ready":  # noqa: ASYNC110 - a record tells nobody
            await asyncio.sleep(0.01)


async def test_a_deployed_server_runs_pinned_and_limited(world: World) -> None:
    answer = await world.client.post(DEPLOY, json={**BOX, "limits": {"memory_mb": 64}})
    assert answer.status_code == 201
    assert (answer.json()["image"], answer.json()["command"]) == ("box:1", None)
    await until_ready(world)
    status = (await world.client.get(STATUS)).json()
    assert (status["dind_container_running"], status["engine_version"]) == (True, "memory")
    (container,) = status["containers"]
    assert (container["server"], container["memory_bytes"]) == ("boxed", 64_000_000)
    stats = await world.client.get(f"/api/v1/mcp/dind/containers/{container['container_id']}/stats")
    assert stats.json()["processes"] == 1
    assert (await world.client.delete(f"{DEPLOY}/boxed")).status_code == 204
    assert (await world.client.get(STATUS)).json()["containers"] == []


async def test_servers_may_be_added_from_images_too(world: World) -> None:
    assert (await world.client.post("/api/v1/mcp/servers", json=BOX)).status_code == 201
    await until_ready(world)
    mixed = {**BOX, "name": "mixed", "command": "x"}
    assert (await world.client.post("/api/v1/mcp/servers", json=mixed)).status_code == 422


async def test_a_deploy_is_made_once_for_a_key(world: World) -> None:
    headers = {"Idempotency-Key": "one"}
    first = await world.client.post(DEPLOY, json=BOX, headers=headers)
    again = await world.client.post(DEPLOY, json=BOX, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert (await world.client.post(DEPLOY, json=BOX)).status_code == 409


async def test_secrets_of_a_container_are_masked(world: World) -> None:
    body = {**BOX, "env": {"TOKEN": "hush"}, "command": ["run", "--api-key", "hush"]}
    answer = await world.client.post(DEPLOY, json=body)
    assert "hush" not in answer.text
    assert "hush" not in (await world.client.get("/api/v1/mcp/servers/boxed")).text


async def test_an_engine_that_is_away_is_told_and_servers_return_with_it(world: World) -> None:
    await world.client.post(DEPLOY, json=BOX)
    await until_ready(world)
    world.engine.go_down()
    status = (await world.client.get(STATUS)).json()
    assert (status["dind_container_running"], status["status"]) == (False, "degraded")
    assert "cannot be reached" in status["reason"]
    async with asyncio.timeout(5):
        while "cannot be reached" not in world.mcp.record("boxed").reason:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
    world.engine.come_back()
    await until_ready(world)


async def test_what_was_not_deployed_is_not_found(world: World) -> None:
    assert (await world.client.delete(f"{DEPLOY}/toy")).status_code == 404
    assert (await world.client.delete(f"{DEPLOY}/nobody")).status_code == 404
    for what in ("stats", "logs"):
        path = f"/api/v1/mcp/dind/containers/nobody/{what}"
        assert (await world.client.get(path)).status_code == 404
