"""Schedules over a real connection."""

from typing import Any

import pytest

from tests.http.world import World

pytestmark = pytest.mark.anyio
SCHEDULES = "/api/v1/schedules"
NIGHTLY: dict[str, Any] = {
    "name": "Nightly",
    "cron": "0 3 * * *",
    "timezone": "Europe/Berlin",
    "task_type": "tool",
    "payload": {"server": "toy", "tool": "echo"},
    "deadline_s": 90,
    "retry": {"first_delay_s": 30.0, "factor": 3.0, "longest_delay_s": 600.0},
    "on_indeterminate": "ask",
}


async def kept(world: World, **changes: Any) -> dict[str, Any]:
    answer = await world.client.post(SCHEDULES, json=NIGHTLY | changes)
    assert answer.status_code == 201
    schedule: dict[str, Any] = answer.json()
    return schedule


async def test_a_schedule_is_kept_and_read_again(world: World) -> None:
    schedule = await kept(world)

    one = await world.client.get(f"{SCHEDULES}/{schedule['schedule_id']}")
    every = await world.client.get(SCHEDULES)

    assert one.json() == schedule
    assert every.json() == {"schedules": [schedule], "total_count": 1, "next_cursor": None}
    told = {name: value for name, value in schedule.items() if name in NIGHTLY}
    payload = NIGHTLY["payload"] | {"arguments": {}, "idempotent": None}
    assert told == NIGHTLY | {"payload": payload}
    assert schedule["next_at"].endswith(("T01:00:00Z", "T02:00:00Z"))
    for name in ("last_at", "last_task_id", "last_error"):
        assert schedule[name] is None


async def test_a_schedule_is_paused_changed_and_removed(world: World) -> None:
    path = f"{SCHEDULES}/{(await kept(world))['schedule_id']}"

    paused = await world.client.patch(path, json={"enabled": False})
    turn = {"agent": "general-assistant", "message": "Report"}
    retry = {"first_delay_s": 5.0, "factor": 2.0, "longest_delay_s": 60.0}
    body: dict[str, Any] = {
        "task_type": "agent",
        "payload": turn,
        "deadline_s": None,
        "priority": 7,
    }
    body |= {"retry": {"first_delay_s": 5}, "on_indeterminate": "fail"}
    changed = await world.client.patch(path, json=body)
    removed = await world.client.delete(path)

    assert (paused.json()["enabled"], paused.json()["next_at"]) == (False, None)
    assert changed.json()["task_type"] == "agent"
    assert changed.json()["payload"] == turn | {"conversation_id": None, "model": None}
    assert (changed.json()["deadline_s"], changed.json()["priority"]) == (None, 7)
    assert (changed.json()["retry"], changed.json()["on_indeterminate"]) == (retry, "fail")
    assert (changed.json()["name"], changed.json()["enabled"]) == ("Nightly", False)
    assert removed.status_code == 204
    assert (await world.client.get(path)).status_code == 404
    assert (await world.client.delete(path)).status_code == 404


@pytest.mark.parametrize(
    ("changes", "path", "detail"),
    [
        ({"cron": "0 25 * * *"}, "/cron", "cron: '25' is no hour."),
        ({"timezone": "Mars"}, "/timezone", "timezone: 'Mars' is no IANA name"),
        ({"name": "  "}, "/name", "A schedule needs a name."),
        ({"max_attempts": 21}, "/max_attempts", "<= 20"),
        ({"payload": {"server": "toy"}}, "/payload", "`tool`"),
        ({"task_type": "dance"}, "/task_type", "dance"),
        ({"more": 1}, "", "more"),
    ],
)
async def test_what_is_wrong_is_pointed_at(
    world: World, changes: dict[str, Any], path: str, detail: str
) -> None:
    answer = await world.client.post(SCHEDULES, json=NIGHTLY | changes)

    assert answer.status_code == 422
    assert answer.json()["path"] == path
    assert detail in answer.json()["detail"]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"payload": {"server": "toy", "tool": "echo"}}, "/payload"),
        ({"task_type": "tool"}, "/payload"),
        ({"task_type": "tool", "payload": {"server": "toy", "tool": 1}}, "/payload/tool"),
        ({"cron": "* * * *"}, "/cron"),
        ({"name": None}, "/name"),
    ],
)
async def test_a_change_that_cannot_be_is_refused(
    world: World, change: dict[str, Any], path: str
) -> None:
    schedule = await kept(world)
    answer = await world.client.patch(f"{SCHEDULES}/{schedule['schedule_id']}", json=change)

    assert (answer.status_code, answer.json()["path"]) == (422, path)


async def test_an_agent_that_does_not_exist_is_not_scheduled(world: World) -> None:
    body = NIGHTLY | {"task_type": "agent", "payload": {"agent": "nobody", "message": "m"}}
    assert (await world.client.post(SCHEDULES, json=body)).status_code == 404


async def test_a_repeat_under_a_key_makes_no_second_schedule(world: World) -> None:
    headers = {"idempotency-key": "k-1"}
    first = await world.client.post(SCHEDULES, json=NIGHTLY, headers=headers)
    second = await world.client.post(SCHEDULES, json=NIGHTLY, headers=headers)

    assert (first.status_code, first.content) == (second.status_code, second.content)
    assert (await world.client.get(SCHEDULES)).json()["total_count"] == 1
