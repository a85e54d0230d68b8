"""Tasks, chat and their event streams, over a real connection."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from domain.model.callers import LOCAL
from domain.model.tasks import TaskId
from tests.http.events import Event, events_of
from tests.http.world import World

pytestmark = pytest.mark.anyio
TASKS = "/api/v1/tasks"


async def submitted(world: World, tool: str) -> str:
    body = {"task_type": "tool", "payload": {"server": "toy", "tool": tool}, "priority": 5}
    answer = await world.client.post(TASKS, json=body)
    assert answer.status_code == 201
    assert answer.json()["status"] == "queued"
    return str(answer.json()["task_id"])


async def finished(world: World, task_id: str) -> None:
    async with asyncio.timeout(5):
        await world.tasks.finished(LOCAL, TaskId(task_id))


async def test_a_tool_task_is_kept_and_done(world: World) -> None:
    task_id = await submitted(world, "echo")
    await finished(world, task_id)

    task = (await world.client.get(f"{TASKS}/{task_id}")).json()
    listed = (await world.client.get(f"{TASKS}?status=succeeded")).json()

    assert task["status"] == "succeeded"
    assert task["task_type"] == "tool"
    assert task["payload"] == {
        "server": "toy",
        "tool": "echo",
        "arguments": {},
        "idempotent": None,
    }
    assert task["result"]["is_error"] is False
    assert task["priority"] == 5
    assert "error" not in task
    assert [entry["task_id"] for entry in listed["tasks"]] == [task_id]
    assert listed["total_count"] == 1


async def test_a_task_is_cancelled_once(world: World) -> None:
    task_id = await submitted(world, "hang")
    async with asyncio.timeout(5):
        await world.connector.session.hung.wait()

    asked = await world.client.post(f"{TASKS}/{task_id}/cancel")
    await finished(world, task_id)
    late = await world.client.post(f"{TASKS}/{task_id}/cancel")

    assert asked.status_code == 202
    assert late.status_code == 409
    assert (await world.client.get(f"{TASKS}/{task_id}")).json()["status"] == "cancelled"


async def test_a_task_may_wait_for_its_time(world: World) -> None:
    body = {
        "task_type": "tool",
        "payload": {"server": "toy", "tool": "echo"},
        "run_at": "2999-01-01T00:00:00Z",
    }
    too_late = await world.client.post(TASKS, json=body)
    no_zone = await world.client.post(TASKS, json=body | {"run_at": "2026-12-01T00:00:00"})
    past = await world.client.post(TASKS, json=body | {"run_at": "2020-01-01T00:00:00Z"})

    assert too_late.status_code == 422
    assert too_late.json()["path"] == "/run_at"
    assert no_zone.status_code == 422
    assert past.status_code == 201


async def test_a_task_tells_its_lane_its_policy_and_its_place(world: World) -> None:
    await world.worker.stop(timedelta())
    body = {
        "task_type": "tool",
        "payload": {"server": "toy", "tool": "echo"},
        "retry": {"first_delay_s": 0.5, "factor": 3},
        "on_indeterminate": "ask",
    }
    first = (await world.client.post(TASKS, json=body)).json()
    second = (await world.client.post(TASKS, json=body)).json()
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    later = (await world.client.post(TASKS, json=body | {"run_at": soon})).json()
    read = (await world.client.get(f"{TASKS}/{second['task_id']}")).json()

    assert (first["queue_position"], second["queue_position"]) == (1, 2)
    assert "queue_position" not in later
    assert read == second
    assert read["lane"] == "server:toy"
    assert read["on_indeterminate"] == "ask"
    assert read["retry"] == {"first_delay_s": 0.5, "factor": 3.0, "longest_delay_s": 60.0}


async def test_a_deadline_before_the_time_to_begin_is_refused(world: World) -> None:
    body = {
        "task_type": "tool",
        "payload": {"server": "toy", "tool": "echo"},
        "run_at": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
        "deadline_s": 60,
    }
    answer = await world.client.post(TASKS, json=body)

    assert answer.status_code == 422
    assert answer.json()["path"] == "/deadline_s"


@pytest.mark.parametrize(
    "body",
    [
        {"task_type": "dance", "payload": {}},
        {"task_type": "tool", "payload": {"server": "toy"}},
        {"task_type": "agent", "payload": {"agent": "a", "message": "m", "interactive": True}},
        {"task_type": "tool", "payload": {"server": "t", "tool": "t"}, "max_attempts": 21},
        {"task_type": "tool", "payload": {"server": "t", "tool": "t"}, "retry": {"factor": 0.5}},
        {"task_type": "tool", "payload": {"server": "t", "tool": "t"}, "retry": {"delay_s": 5}},
        {"task_type": "tool", "payload": {"server": "t", "tool": "t"}, "on_indeterminate": "?"},
    ],
)
async def test_other_work_is_refused(world: World, body: dict[str, object]) -> None:
    assert (await world.client.post(TASKS, json=body)).status_code == 422


async def test_what_happened_in_a_task_is_read_in_parts(world: World) -> None:
    task_id = await submitted(world, "echo")
    await finished(world, task_id)

    path = f"{TASKS}/{task_id}/history"
    every = (await world.client.get(path)).json()
    first = (await world.client.get(path, params={"limit": 2})).json()
    rest = (await world.client.get(path, params={"cursor": first["next_cursor"]})).json()

    kinds = ["start", "tool_call", "tool_result", "done"]
    assert [(event["id"], event["event"]) for event in every["events"]] == list(enumerate(kinds, 1))
    assert {event["attempt"] for event in every["events"]} == {1}
    assert every["next_cursor"] is None
    assert every["events"][1]["data"]["tool"] == "echo"
    assert first["events"] + rest["events"] == every["events"]
    assert (await world.client.get(path, params={"cursor": "x"})).status_code == 400
    assert (await world.client.get(f"{TASKS}/nobody/history")).status_code == 404


async def test_unknown_tasks_have_no_events(world: World) -> None:
    assert (await world.client.get(f"{TASKS}/nobody/events")).status_code == 404
    assert (await world.client.get(f"{TASKS}/nobody")).status_code == 404


async def test_a_wrong_last_event_id_is_refused(world: World) -> None:
    task_id = await submitted(world, "echo")

    for given in ("-1", "x", "9" * 19):
        headers = {"last-event-id": given}
        answer = await world.client.get(f"{TASKS}/{task_id}/events", headers=headers)
        assert answer.status_code == 400


async def test_chat_waits_for_the_answer(world: World) -> None:
    world.model.go.set()

    answer = await world.client.post("/api/v1/chat", json={"message": "Hello"})

    said = answer.json()
    assert answer.status_code == 200
    assert said["response"] == "Hello you"
    assert said["agent"] == "general-assistant"
    assert said["model"] == "held"
    assert said["tool_calls"] == []
    assert said["usage"] == {"input_tokens": 3, "output_tokens": 2}
    conversation = await world.client.get(f"/api/v1/conversations/{said['conversation_id']}")
    assert [
        (message["seq"], message["role"], message["text"])
        for message in conversation.json()["messages"]
    ] == [(1, "user", "Hello"), (2, "assistant", "Hello you")]
    assert conversation.json()["messages"][0]["task_id"] == said["task_id"]


async def test_conversations_are_listed_and_removed(world: World) -> None:
    world.model.go.set()
    said = (await world.client.post("/api/v1/chat", json={"message": "Hello"})).json()
    path = f"/api/v1/conversations/{said['conversation_id']}"

    listed = (await world.client.get("/api/v1/conversations")).json()
    removed = await world.client.delete(path)

    assert listed["total_count"] == 1
    assert listed["conversations"][0]["agent"] == "general-assistant"
    assert removed.status_code == 204
    assert (await world.client.get(path)).status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"message": "x", "agent": "nobody"}, 404),
        ({"message": "x", "model": "nobody"}, 404),
        ({"message": "x", "conversation_id": "nobody"}, 404),
        ({"message": ""}, 422),
        ({"message": "  "}, 422),
    ],
)
async def test_chat_that_cannot_be_says_so(world: World, body: dict[str, str], status: int) -> None:
    answer = await world.client.post("/api/v1/chat", json=body)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_stream_is_left_and_resumed_and_the_task_goes_on(world: World) -> None:
    seen: list[Event] = []
    body = {"message": "Hello"}
    async with world.client.stream("POST", "/api/v1/chat/stream", json=body) as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["x-accel-buffering"] == "no"
        async for event in events_of(answer):
            seen.append(event)
            if event.kind == "text":
                break
    start, text = seen
    task_id = start.data["task_id"]
    assert start.kind == "start"
    assert start.last_id == str(start.data["id"]) == "1"
    assert text.data["text"] == "Hello "

    world.model.go.set()
    await finished(world, task_id)
    headers = {"last-event-id": start.last_id}
    path = f"{TASKS}/{task_id}/events"
    async with world.client.stream("GET", path, headers=headers) as answer:
        rest = [event async for event in events_of(answer)]

    assert "".join(event.data["text"] for event in rest if event.kind == "text") == "Hello you"
    assert rest[-1].kind == "done"
    assert rest[-1].data["result"]["response"] == "Hello you"
    assert all(int(event.last_id or 0) > 1 for event in rest)
    assert "step" not in {event.kind for event in rest}


async def test_live_text_has_no_id_line(world: World) -> None:
    async with world.client.stream("POST", "/api/v1/chat/stream", json={"message": "x"}) as answer:
        events = events_of(answer)
        assert (await anext(events)).kind == "start"
        first = await anext(events)
        world.model.go.set()
        rest = [event async for event in events]

    assert first.last_id is None
    assert first.data["id"] == 1
    assert "".join(e.data["text"] for e in (first, *rest) if e.kind == "text") == "Hello you"


async def test_five_streams_end_with_an_event_when_the_system_stops(world: World) -> None:
    body = {"message": "Hello"}
    opened = [world.client.stream("POST", "/api/v1/chat/stream", json=body) for _ in range(5)]
    answers: list[httpx.Response] = [await stream.__aenter__() for stream in opened]
    readers = [events_of(answer) for answer in answers]
    starts = [await anext(reader) for reader in readers]
    assert world.door.open_responses == 5

    async with asyncio.timeout(2):
        await world.server.stop()
        lasts = [[event async for event in reader][-1] for reader in readers]

    assert {last.kind for last in lasts} == {"shutdown"}
    assert [last.data["resume"] for last in lasts] == [
        f"{TASKS}/{start.data['task_id']}/events" for start in starts
    ]
    assert lasts[0].data["reason"] == "the system is stopping"
    for stream in opened:
        await stream.__aexit__(None, None, None)
