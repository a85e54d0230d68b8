"""Requests that mean no good: each is refused with a reason, and nothing of them is kept."""

import asyncio
import json
from typing import Any

import pytest

from tests.http.world import World

pytestmark = pytest.mark.anyio

AGENTS = "/api/v1/agents"
ECHO = "/api/v1/mcp/servers/toy/tools/echo"
TASKS = "/api/v1/tasks"
JSON = {"content-type": "application/json"}


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


@pytest.mark.parametrize("text", ["\\u0000", "a\\u0000b", "\\\\\\u0000"])
async def test_nul_in_a_text_is_refused(world: World, text: str) -> None:
    body = f'{{"name": "x", "instructions": "{text}"}}'
    answer = await world.client.post(AGENTS, content=body, headers=JSON)

    assert answer.status_code == 422
    assert "NUL" in answer.json()["detail"]


async def test_a_text_about_nul_is_kept(world: World) -> None:
    body = r'{"name": "x", "instructions": "write \\u0000 for NUL"}'
    answer = await world.client.post(AGENTS, content=body, headers=JSON)

    assert answer.status_code == 201
    assert answer.json()["instructions"] == r"write \u0000 for NUL"


@pytest.mark.parametrize(
    "path",
    [
        f"{AGENTS}/a%00",
        f"{TASKS}/a%00",
        f"{TASKS}/a%00/events",
        f"{TASKS}?cursor=%00",
        f"{TASKS}?conversation_id=a%00b",
        "/api/v1/conversations/%00",
        "/api/v1/conversations?cursor=a%00",
    ],
)
async def test_nul_in_an_address_is_refused(world: World, path: str) -> None:
    answer = await world.client.get(path)

    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("levels", [98, 940, 960, 967, 972, 100_000 // 3])
async def test_what_is_kept_is_not_nested_deeper_than_can_be_read_again(
    world: World, levels: int
) -> None:
    body = (
        '{"task_type": "tool", "payload": {"server": "toy", "tool": "echo", "arguments": {"x": '
        f"{nested(levels)}}}}}}}"
    )
    answer = await world.client.post(TASKS, content=body, headers=JSON)

    assert answer.status_code == 422
    assert "nested" in answer.json()["detail"]
    assert (await world.client.get(TASKS)).json()["total_count"] == 0


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (AGENTS, {"agent_id": "a\n", "name": "x", "instructions": "x"}),
        ("/api/v1/mcp/servers", {"name": "a\n", "command": "true"}),
    ],
)
async def test_a_line_break_ends_no_name(world: World, path: str, body: dict[str, str]) -> None:
    answer = await world.client.post(path, json=body)

    assert answer.status_code == 422
    assert answer.json()["path"] in {"/agent_id", "/name"}


async def test_brackets_in_texts_are_no_levels(world: World) -> None:
    text = '[{"' * 500
    body = {"name": "x", "instructions": text, "tools": ["[{"] * 200}
    answer = await world.client.post(AGENTS, json=body)

    assert answer.status_code == 201
    assert answer.json()["instructions"] == text


async def test_a_tool_call_nested_too_deeply_is_the_callers_fault(world: World) -> None:
    answers = [
        await world.client.post(ECHO, content=f'{{"x": {nested(levels)}}}', headers=JSON)
        for levels in (500, *range(940, 985), 5000)
    ]

    assert [answers[0].status_code, answers[-1].status_code] == [200, 422]
    assert {answer.status_code for answer in answers} == {200, 422}


@pytest.mark.parametrize("number", ["1e999", "1" * 5000])
async def test_a_number_out_of_range_names_a_place_that_exists(world: World, number: str) -> None:
    answer = await world.client.post(ECHO, content=f'{{"x": [{number}]}}', headers=JSON)

    assert answer.status_code == 422
    assert answer.json()["path"] == ""


async def test_a_body_in_broken_chunks_is_told_so(world: World) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    head = (
        f"POST {ECHO} HTTP/1.1\r\nHost: 127.0.0.1:{world.port}\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    writer.write(head.encode() + b"zz\r\n")
    async with asyncio.timeout(5):
        answer = await reader.read(4096)
    writer.close()

    assert b" 400 " in answer.split(b"\r\n")[0]
    assert b"body-broken" in answer


async def test_changes_of_one_agents_limits_do_not_undo_each_other(world: World) -> None:
    """Each of two clients changes its own limit, at the same time, many times."""
    path = f"{AGENTS}/general-assistant"

    async def change(name: str, values: range) -> None:
        for value in values:
            answer = await world.client.patch(path, json={"limits": {name: value}})
            assert answer.json()["limits"][name] == value

    await asyncio.gather(change("max_steps", range(1, 40)), change("turn_timeout_s", range(1, 40)))

    assert (await world.client.get(path)).json()["limits"] == {
        "max_steps": 39,
        "turn_timeout_s": 39.0,
    }


async def test_of_two_messages_at_once_one_is_refused(world: World) -> None:
    world.model.go.set()
    first = (await world.client.post("/api/v1/chat", json={"message": "Hello"})).json()
    world.model.go.clear()
    body = {"message": "again", "conversation_id": first["conversation_id"]}

    async def say() -> Any:
        return await world.client.post("/api/v1/chat", json=body)

    both = [asyncio.create_task(say()) for _ in range(2)]
    (refused,), _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    removed = await world.client.delete(f"/api/v1/conversations/{first['conversation_id']}")
    world.model.go.set()
    statuses = sorted([answer.status_code for answer in await asyncio.gather(*both)])

    assert json.loads(refused.result().text)["type"] == "urn:sutazai:problem:conversation-busy"
    assert removed.status_code == 409
    assert statuses == [200, 409]
    path = f"/api/v1/conversations/{first['conversation_id']}"
    texts = [said["text"] for said in (await world.client.get(path)).json()["messages"]]
    assert texts == ["Hello", "Hello you", "again", "Hello you"]
