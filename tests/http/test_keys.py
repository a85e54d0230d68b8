"""Idempotency-Key: the same request twice acts once and is answered alike."""

import asyncio
from typing import Any

import httpx
import pytest

from domain.model.callers import LOCAL
from domain.model.tasks import TaskId
from tests.http.world import World

pytestmark = pytest.mark.anyio

TASKS, AGENTS, SERVERS, CHAT = (
    "/api/v1/tasks",
    "/api/v1/agents",
    "/api/v1/mcp/servers",
    "/api/v1/chat",
)
WORK = {"task_type": "tool", "payload": {"server": "toy", "tool": "echo", "arguments": {"a": 1}}}
AGENT = {"name": "Twin", "instructions": "Help.", "limits": {"max_steps": 3}}
SERVER = {
    "name": "more",
    "command": "toy",
    "env": {"TOKEN": "hush-hush"},
    "args": ["--key", "hush"],
}
HELLO = {"message": "Hello"}


async def post(world: World, path: str, body: Any, key: str | None = "k-1") -> httpx.Response:
    headers = {} if key is None else {"idempotency-key": key}
    return await world.client.post(path, json=body, headers=headers)


def same(first: httpx.Response, second: httpx.Response) -> bool:
    return (first.status_code, first.content) == (second.status_code, second.content)


@pytest.mark.parametrize(
    ("path", "body", "noun"),
    [(TASKS, WORK, "tasks"), (AGENTS, AGENT, "agents"), (SERVERS, SERVER, "servers")],
)
async def test_a_repeat_is_answered_with_the_same_bytes_and_creates_nothing(
    world: World, path: str, body: dict[str, Any], noun: str
) -> None:
    before = (await world.client.get(path)).json()["total_count"]

    first = await post(world, path, body)
    await asyncio.sleep(0.1)  # a task is done, a server up by now
    repeat = await post(world, path, body)

    assert first.status_code == 201
    assert same(first, repeat)
    after = (await world.client.get(path)).json()
    assert after["total_count"] == len(after[noun]) == before + 1


async def test_a_task_is_told_as_it_was_created_also_once_it_is_done(world: World) -> None:
    first = await post(world, TASKS, WORK)
    task_id = first.json()["task_id"]
    await world.tasks.finished(LOCAL, TaskId(task_id))

    assert (await world.client.get(f"{TASKS}/{task_id}")).json()["status"] == "succeeded"
    assert (await post(world, TASKS, WORK)).json()["status"] == "queued"


async def test_a_server_is_told_again_after_it_was_removed_and_keeps_its_secrets(
    world: World,
) -> None:
    first = await post(world, SERVERS, SERVER)
    assert (await world.client.delete(f"{SERVERS}/more")).status_code == 204

    assert same(first, await post(world, SERVERS, SERVER))
    assert first.json()["state"] == "starting"
    assert (first.json()["env"], first.json()["args"]) == ({"TOKEN": "***"}, ["--key", "***"])
    async with world.transactions.begin() as transaction:
        kept = list(transaction.keys._keys.values())
    assert all(b"hush" not in (row.answer or b"") for row in kept)


async def test_the_order_of_a_bodys_keys_makes_no_other_request(world: World) -> None:
    first = await post(world, TASKS, WORK)
    turned = dict(reversed(WORK.items()))

    assert same(first, await post(world, TASKS, turned))


async def test_another_body_or_route_under_the_key_is_refused(world: World) -> None:
    first = await post(world, TASKS, WORK)
    other = await post(world, TASKS, WORK | {"priority": 1})
    elsewhere = await post(world, CHAT, HELLO)

    assert [other.status_code, elsewhere.status_code] == [422, 422]
    assert other.json()["type"] == "urn:sutazai:problem:key-reused"
    assert other.json()["key"] == "k-1"
    assert same(first, await post(world, TASKS, WORK))
    assert (await world.client.get("/api/v1/conversations")).json()["total_count"] == 0


async def test_a_quoted_key_and_the_same_key_bare_are_one(world: World) -> None:
    first = await post(world, TASKS, WORK, 'a"b')
    assert same(first, await post(world, TASKS, WORK, r'"a\"b"'))
    assert not same(first, await post(world, TASKS, WORK, '"a b"'))


@pytest.mark.parametrize("key", ["", '"', '""', "a b", "x" * 256, '"' + "x" * 256 + '"', '"a";b=1'])
async def test_what_is_no_key_is_refused(world: World, key: str) -> None:
    answer = await post(world, TASKS, WORK, key)

    assert answer.status_code == 400
    assert "Idempotency-Key" in answer.json()["detail"]


async def test_two_keys_are_no_key(world: World) -> None:
    headers = [("idempotency-key", "a"), ("idempotency-key", "a")]
    answer = await world.client.post(TASKS, json=WORK, headers=headers)

    assert answer.status_code == 400
    assert (await world.client.get(TASKS)).json()["total_count"] == 0


async def test_a_refused_request_leaves_its_key_free(world: World) -> None:
    unknown = WORK | {"task_type": "agent", "payload": {"agent": "nobody", "message": "m"}}

    assert (await post(world, TASKS, unknown)).status_code == 404
    assert (await post(world, TASKS, WORK)).status_code == 201


async def test_of_twenty_who_ask_at_once_one_creates_and_all_hear_of_it(world: World) -> None:
    answers = await asyncio.gather(*(post(world, TASKS, WORK) for _ in range(20)))

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert (await world.client.get(TASKS)).json()["total_count"] == 1


async def test_an_answer_that_was_lost_is_given_again(world: World) -> None:
    with pytest.raises(httpx.ReadTimeout):
        await world.client.post(CHAT, json=HELLO, headers={"idempotency-key": "k-1"}, timeout=0.3)

    under_way = await post(world, CHAT, HELLO)
    world.model.go.set()
    await world.tasks.finished(LOCAL, TaskId(under_way.json()["task_id"]))
    first = await post(world, CHAT, HELLO)
    second = await post(world, CHAT, HELLO)

    assert under_way.status_code == 409
    assert under_way.json()["type"] == "urn:sutazai:problem:key-in-flight"
    assert under_way.headers["retry-after"] == "1"
    assert (first.status_code, first.json()["response"]) == (200, "Hello you")
    assert same(first, second)
    assert (await world.client.get("/api/v1/conversations")).json()["total_count"] == 1


async def test_a_stream_takes_no_key_and_other_routes_do_not_look_at_it(world: World) -> None:
    stream = await post(world, f"{CHAT}/stream", HELLO)
    looked_at = await world.client.get(TASKS, headers={"idempotency-key": '"'})

    assert stream.status_code == 422
    assert stream.json()["type"] == "urn:sutazai:problem:key-not-taken"
    assert looked_at.status_code == 200
    assert (await world.client.get("/api/v1/conversations")).json()["total_count"] == 0


async def test_the_description_names_the_header_where_it_is_taken(world: World) -> None:
    paths = (await world.client.get("/openapi.json")).json()["paths"]
    taking = {
        path
        for path, item in paths.items()
        for parameter in item.get("post", {}).get("parameters", ())
        if parameter["name"] == "Idempotency-Key" and parameter["in"] == "header"
    }

    assert taking == {TASKS, AGENTS, SERVERS, CHAT, "/api/v1/schedules", "/api/v1/mcp/deploy"}
