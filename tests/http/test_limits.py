"""Limits by caller and route: what is refused, what is said of it, and what is never limited."""

import re
from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest

from domain.model.callers import LOCAL, Caller, CallerId
from domain.model.tasks import TaskId
from tests.http.world import World, running_world

pytestmark = pytest.mark.anyio

SAY = {"message": "hi"}
CALL = "/api/v1/mcp/servers/toy/tools/echo"
TASK = {"task_type": "tool", "payload": {"server": "toy", "tool": "echo"}}
EXECUTE = {"server": "toy", "method": "ping", "params": {}}
OTHER = Caller(id=CallerId("other"), scopes=LOCAL.scopes)


@pytest.fixture
async def strict(anyio_backend: str) -> AsyncIterator[World]:
    """A world in which two of everything are too many in a minute, after the first two."""
    async with running_world(chat=2, tasks=2, tool_calls=2) as running:
        running.model.go.set()
        yield running


async def _answers(world: World, path: str, body: object, count: int = 3) -> list[httpx.Response]:
    return [await world.client.post(path, json=body) for _ in range(count)]


@pytest.mark.parametrize(
    ("path", "body", "policy"),
    [
        ("/api/v1/chat", SAY, "chat"),
        ("/api/v1/chat/stream", SAY, "chat"),
        ("/api/v1/tasks", TASK, "tasks"),
        (CALL, {}, "tool-calls"),
        ("/api/v1/mcp/execute", EXECUTE, "tool-calls"),
    ],
)
async def test_one_too_many_is_refused_and_told_when_to_come_again(
    strict: World, path: str, body: object, policy: str
) -> None:
    first, second, third = await _answers(strict, path, body)

    assert first.is_success, first.text
    assert second.is_success
    assert first.headers["ratelimit-policy"] == f'"{policy}";q=2;w=60'
    assert first.headers["ratelimit"] == f'"{policy}";r=1;t=30'
    assert second.headers["ratelimit"] == f'"{policy}";r=0;t=30'
    assert third.status_code == 429
    assert third.headers["content-type"] == "application/problem+json"
    problem = third.json()
    assert problem["type"] == "urn:sutazai:problem:too-many-requests"
    assert problem["policy"] == policy
    # A second may pass on a busy machine; both fields say the same.
    said = re.fullmatch(rf'"{policy}";r=0;t=(\d+)', third.headers["ratelimit"])
    assert said is not None
    assert third.headers["retry-after"] == said[1]
    assert 20 <= int(said[1]) <= 30
    assert third.headers["ratelimit-policy"] == f'"{policy}";q=2;w=60'


async def test_routes_of_one_quota_are_counted_together_and_others_apart(strict: World) -> None:
    said = await strict.client.post("/api/v1/chat", json=SAY)
    streamed = await strict.client.post("/api/v1/chat/stream", json=SAY)
    refused = await strict.client.post("/api/v1/chat", json=SAY)
    task = await strict.client.post("/api/v1/tasks", json=TASK)

    codes = [each.status_code for each in (said, streamed, refused, task)]
    assert codes == [200, 200, 429, 201]


async def test_each_caller_has_a_quota_of_its_own(strict: World) -> None:
    await _answers(strict, CALL, {})
    strict.door._caller = OTHER

    assert (await strict.client.post(CALL, json={})).status_code == 200


async def test_reading_is_never_limited(strict: World) -> None:
    for path, body in (("/api/v1/chat", SAY), ("/api/v1/tasks", TASK), (CALL, {})):
        assert (await _answers(strict, path, body))[-1].status_code == 429
    paths = ("/health", "/livez", "/readyz", "/health-emergency", "/docs", "/openapi.json")

    for path in (*paths, "/api/v1/tasks", "/api/v1/conversations", "/api/v1/mcp/tools"):
        for answer in [await strict.client.get(path) for _ in range(5)]:
            assert answer.status_code == 200
            assert "ratelimit" not in answer.headers


async def test_who_asks_on_and_on_is_not_kept_out_for_longer(strict: World) -> None:
    waits = [
        int(answer.headers["retry-after"]) for answer in (await _answers(strict, CALL, {}, 50))[2:]
    ]

    assert waits == sorted(waits, reverse=True)
    assert (await strict.client.get("/health")).status_code == 200


async def test_a_body_that_is_no_request_does_not_count(strict: World) -> None:
    for answer in await _answers(strict, "/api/v1/chat", {"massage": "hi"}, 5):
        assert answer.status_code == 422
    assert (await strict.client.post("/api/v1/chat", json=SAY)).status_code == 200


async def test_a_refused_request_does_nothing(strict: World) -> None:
    made = await _answers(strict, "/api/v1/tasks", TASK, 5)

    kept = (await strict.client.get("/api/v1/tasks")).json()
    assert kept["total_count"] == 2
    assert {each["task_id"] for each in kept["tasks"]} == {
        TaskId(answer.json()["task_id"]) for answer in made[:2]
    }


async def test_a_refused_request_with_a_large_body_leaves_the_connection_well(
    strict: World,
) -> None:
    large = msgspec.json.encode({"text": "x" * 90_000})
    headers = {"content-type": "application/json"}
    for _ in range(50):
        await strict.client.post(CALL, content=large, headers=headers)
    assert (await strict.client.post(CALL, content=large, headers=headers)).status_code == 429
    assert (await strict.client.get("/livez")).status_code == 200


async def test_without_a_limit_nothing_is_counted(world: World) -> None:
    for answer in await _answers(world, CALL, {}, 20):
        assert answer.status_code == 200
        assert "ratelimit" not in answer.headers
    assert not world.limits._full_at
