"""Instances of real processes: each session's are its own, and none is left behind."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from tests.chaos.conftest import Make, entry
from tests.chaos.test_limits import bridge, left_open
from tests.system.running import System, eventually

TOOLS = "/api/v1/mcp/servers/chaos/tools"


def count(system: System, session: str = "") -> str:
    """How many calls the session's process was given, this one included."""
    headers = {"Sutazai-Session": session} if session else {}
    answer = system.client.post(f"{TOOLS}/exit_on", json={"n": 1000}, headers=headers)
    assert answer.status_code == 200, answer.text
    text: str = answer.json()["content"][0]["text"]
    return text


def instances(system: System) -> list[dict[str, Any]]:
    services = system.get("/api/v1/mesh/services")["services"]
    return [each for each in services if each["name"] == "chaos"]


def pids(system: System) -> set[int]:
    """The processes of all instances."""
    return {
        int(each["instance"].removeprefix("process "))
        for each in instances(system)
        if each["instance"]
    }


def gone(pid: int) -> bool:
    return not os.path.exists(f"/proc/{pid}")  # noqa: PTH110 - of a pid


def test_each_session_has_a_process_of_its_own_and_the_oldest_makes_room(make: Make) -> None:
    system = make(chaos=entry(sessions="per_session", max_instances=2))
    assert [count(system, session) for session in ("a", "b", "a", "b")] == ["1", "1", "2", "2"]
    before = pids(system)
    assert len(before) == 2
    assert count(system, "c") == "1"
    assert len(pids(system) & before) == 1
    assert (count(system, "b"), count(system, "a")) == ("3", "1")
    (ended,) = before - pids(system) or {0}
    assert gone(ended)
    labels = {each["member"] for each in instances(system)}
    assert len(labels) == 2
    assert all(len(label) == 12 for label in labels)
    assert system.get("/api/v1/mcp/bridge/status")["sessions"]["chaos"]["session_count"] == 2
    assert system.get("/api/v1/mcp/health")["services"]["chaos"]["instances"] == {"ready": 2}
    before = pids(system)
    system.post("/api/v1/mcp/servers/chaos/stop")
    assert all(map(gone, before))


def test_a_conversation_is_a_session(make: Make) -> None:
    system = make(chaos=entry(sessions="per_session"))

    def say(**more: Any) -> Any:
        message = '/tool chaos__exit_on {"n": 1000}'
        return system.post("/api/v1/chat", {"message": message, **more})

    first, second = say(), say()
    again = say(conversation_id=first["conversation_id"])
    assert [each["tool_calls"][0]["result"]["content"][0]["text"] for each in (first, second)] == [
        "1",
        "1",
    ]
    assert again["tool_calls"][0]["result"]["content"][0]["text"] == "2"
    assert count(system) == "1"


def test_a_session_whose_process_dies_loses_only_its_own(make: Make) -> None:
    system = make(chaos=entry(sessions="per_session"))
    for session in "ab":
        count(system, session)
    exit_ = system.client.post(f"{TOOLS}/exit", json={}, headers={"Sutazai-Session": "a"})
    assert exit_.status_code == 502
    refused = system.client.post(f"{TOOLS}/echo", json={}, headers={"Sutazai-Session": "a"})
    assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
    assert count(system, "b") == "2"
    assert count(system, "c") == "1"
    eventually(lambda: system.server("chaos")["state"] == "ready", 5)
    assert count(system, "a") == "1"
    assert count(system, "b") == "3"


def test_a_call_that_is_left_ends_its_own_process(make: Make) -> None:
    system = make(chaos=entry(sessions="per_call", max_instances=1))
    assert [count(system) for _ in "123"] == ["1", "1", "1"]
    with ThreadPoolExecutor(1) as pool:
        with left_open(system, "hold", 20):
            (pid,) = eventually(lambda: bridge_busy(system) and pids(system))
            waiting = pool.submit(count, system)
            eventually(lambda: system.get("/api/v1/mcp/bridge/status")["calls_waiting"] == 1)
            url = f"{system.client.base_url}{TOOLS}/echo?timeout_s=0.3"
            assert httpx.post(url, json={}, timeout=30).status_code == 504
            assert not waiting.done()
            os.kill(pid, signal.SIGSTOP)  # a frozen one is ended all the same
        assert waiting.result(20) == "1"
        assert gone(pid)


def bridge_busy(system: System) -> bool:
    sessions = system.get("/api/v1/mcp/bridge/status")["sessions"]
    return bool(sessions.get("chaos", {}).get("in_flight"))


def test_a_replica_that_dies_costs_no_call_but_its_own(make: Make) -> None:
    system = make(chaos=entry(replicas=3, balance="round_robin"))
    eventually(lambda: len(pids(system)) == 3)
    assert sorted(count(system) for _ in range(6)) == ["1", "1", "1", "2", "2", "2"]
    victim = min(pids(system))
    os.kill(victim, signal.SIGKILL)
    down = eventually(lambda: (s := system.server("chaos"))["state"] == "degraded" and s, 1)
    assert down["reason"].startswith("1 of 3 instances: backing off: the process ended by signal")
    assert [count(system) for _ in range(4)]
    eventually(lambda: len(pids(system)) == 3, 5)
    assert victim not in pids(system)
    assert [(each["member"], each["weight"]) for each in instances(system)] == [
        ("1", 1),
        ("2", 1),
        ("3", 1),
    ]
    assert bridge(system) == (0, 0)
