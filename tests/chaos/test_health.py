"""Health under misbehaving servers: right in time, with its reason, and of the right server."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.chaos.conftest import ERAS, Make, entry
from tests.system.running import System, eventually

CANARY_S = 1.0
DEATH_SHOWS_S = 1.0
LOOKING_S = 0.3
# The test looks from outside on a machine that may be busy: its own looks take time.


def path(server: str, tool: str, timeout_s: float = 20) -> str:
    return f"/api/v1/mcp/servers/{server}/tools/{tool}?timeout_s={timeout_s}"


def post(system: System, server: str, tool: str, **arguments: Any) -> httpx.Response:
    return system.client.post(path(server, tool), json=arguments)


def bridge_in_flight(system: System, server: str) -> int:
    status = system.get("/api/v1/mcp/bridge/status")
    count: int = status["sessions"][server]["in_flight"]
    return count


def not_ready(system: System, server: str) -> Any:
    return (s := system.server(server))["state"] != "ready" and s


@contextmanager
def undisturbed(system: System, server: str) -> Iterator[None]:
    """The other server answers every call meanwhile."""
    statuses: list[int] = []
    done = threading.Event()

    def call_on_and_on() -> None:
        with httpx.Client(base_url=system.client.base_url, timeout=30) as client:
            while not done.is_set():
                statuses.append(client.post(path(server, "echo"), json={}).status_code)

    thread = threading.Thread(target=call_on_and_on)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(35)
    assert set(statuses) == {200}


@pytest.mark.parametrize("era", ERAS)
def test_a_kill_shows_within_a_second_everywhere(make: Make, era: str) -> None:
    system = make(bad=entry(era), good=entry(era))
    with undisturbed(system, "good"):
        os.kill(system.server("bad")["pid"], signal.SIGKILL)
        killed_at = time.monotonic()
        down = eventually(lambda: not_ready(system, "bad"), DEATH_SHOWS_S)
        assert (down["healthy"], down["reason"]) == (False, "the process ended by signal 9")
        health = eventually(
            lambda: (h := system.get("/health"))["services"]["mcp"] == "degraded" and h,
            DEATH_SHOWS_S,
        )
        assert time.monotonic() - killed_at < DEATH_SHOWS_S + LOOKING_S
        assert "bad is " in health["details"]["mcp"]["reason"]
        assert "signal 9" in health["details"]["mcp"]["reason"]
        assert system.until_ready("bad")["restarts"] == 1
    assert system.server("good")["restarts"] == 0


@pytest.mark.parametrize("era", ERAS)
def test_a_freeze_shows_within_one_canary_interval_and_is_ended(make: Make, era: str) -> None:
    system = make(bad=entry(era, canary_s=CANARY_S), good=entry(era))
    with undisturbed(system, "good"):
        pid = system.server("bad")["pid"]
        os.kill(pid, signal.SIGSTOP)
        frozen_at = time.monotonic()
        down = eventually(lambda: not_ready(system, "bad"), CANARY_S + LOOKING_S)
        assert (down["state"], down["reason"]) == ("degraded", "it does not answer")
        gone = eventually(lambda: (s := system.server("bad")).get("pid") != pid and s, 4 * CANARY_S)
        assert time.monotonic() - frozen_at >= 2 * CANARY_S
        assert gone["reason"].startswith("it did not answer for ")
        assert system.until_ready("bad")["restarts"] == 1


def test_a_call_that_freezes_its_server_is_answered_and_shows(make: Make) -> None:
    system = make(bad=entry(canary_s=CANARY_S), good=entry())
    with undisturbed(system, "good"):
        answer = system.client.post(path("bad", "freeze", 0.5), json={})
        assert answer.status_code == 504
        down = eventually(lambda: not_ready(system, "bad"), CANARY_S + LOOKING_S)
        assert down["healthy"] is False
        assert system.until_ready("bad")["restarts"] == 1
        assert post(system, "bad", "echo").status_code == 200


def test_a_freeze_shows_as_soon_while_calls_are_under_way(make: Make) -> None:
    system = make(bad=entry(canary_s=CANARY_S))
    with ThreadPoolExecutor(4) as pool:
        url = f"{system.client.base_url}{path('bad', 'hold', 3)}"
        held = [pool.submit(httpx.post, url, json={}, timeout=30) for _ in range(4)]
        eventually(lambda: bridge_in_flight(system, "bad") == 4)
        os.kill(system.server("bad")["pid"], signal.SIGSTOP)
        down = eventually(lambda: not_ready(system, "bad"), CANARY_S + LOOKING_S)
        assert (down["state"], down["reason"]) == ("degraded", "it does not answer")
        assert [call.result(10).status_code for call in held] == [504] * 4
    gone = eventually(lambda: (s := system.server("bad"))["state"] != "degraded" and s, 5)
    assert gone["reason"].startswith("it did not answer for ")
    assert system.until_ready("bad")["restarts"] == 1


def test_a_server_that_wakes_from_a_freeze_is_healthy_again(make: Make) -> None:
    system = make(bad=entry(canary_s=CANARY_S))
    pid = system.server("bad")["pid"]
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: not_ready(system, "bad"), CANARY_S + LOOKING_S)
    os.kill(pid, signal.SIGCONT)
    awake = eventually(lambda: (s := system.server("bad"))["state"] == "ready" and s, CANARY_S)
    assert (awake["pid"], awake["restarts"], awake["reason"]) == (pid, 0, "")


def test_going_over_its_memory_shows_that_reason(make: Make) -> None:
    system = make(bad=entry(limits={"memory_mb": 120}), good=entry())
    with undisturbed(system, "good"):
        assert post(system, "bad", "leak", mb=40).status_code == 200
        # The look at its memory may come before the answer.
        assert post(system, "bad", "leak", mb=200).status_code in {200, 502}
        down = eventually(lambda: not_ready(system, "bad"), 5)
        assert "MB of memory, over its limit of 120 MB" in down["reason"]
        system.until_ready("bad")


def test_floods_and_spins_disturb_nobody_else(make: Make) -> None:
    system = make(bad=entry(), good=entry())
    with undisturbed(system, "good"):
        assert post(system, "bad", "flood_out", mb=5).status_code == 200
        assert post(system, "bad", "flood_err", mb=5).status_code == 200
        assert post(system, "bad", "spin", seconds=1).status_code == 200
    status = system.get("/api/v1/mcp/bridge/status")["sessions"]
    assert status["bad"]["noise_lines"] > 100_000
    assert system.server("bad")["restarts"] == 0
    log_tail = system.get("/api/v1/mcp/servers/bad")["log_tail"]
    assert sum(map(len, log_tail)) < 1_000_000


def test_a_server_that_forks_and_will_not_end_leaves_nothing(make: Make) -> None:
    system = make(bad=entry())
    forked = post(system, "bad", "fork", n=6).json()["content"][0]["text"]
    pids = [system.server("bad")["pid"], *map(int, forked.strip("[]").split(","))]
    assert post(system, "bad", "ignore_signals").status_code == 200
    begun = time.monotonic()
    system.post("/api/v1/mcp/servers/bad/stop")
    eventually(lambda: system.server("bad")["state"] == "stopped", 5)
    assert time.monotonic() - begun < 4
    assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]  # noqa: PTH110 - of a pid
