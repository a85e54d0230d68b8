"""Calls beyond a server's limits, and callers that leave, seen over HTTP."""

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from tests.chaos.conftest import ERAS, Make, entry
from tests.system.running import System, eventually

TOOLS = "/api/v1/mcp/servers/chaos/tools"


def bridge(system: System) -> tuple[int, int]:
    """How many calls are under way, and how many wait."""
    status = system.get("/api/v1/mcp/bridge/status")
    return status["sessions"]["chaos"]["in_flight"], status["calls_waiting"]


def post(system: System, tool: str, timeout_s: float, **arguments: object) -> httpx.Response:
    url = f"{system.client.base_url}{TOOLS}/{tool}?timeout_s={timeout_s}"
    return httpx.post(url, json=arguments, timeout=30)


@contextmanager
def left_open(system: System, tool: str, timeout_s: float) -> Iterator[socket.socket]:
    """A call whose caller can leave in mid-call."""
    with socket.create_connection(("127.0.0.1", system.port)) as connection:
        connection.sendall(
            f"POST {TOOLS}/{tool}?timeout_s={timeout_s} HTTP/1.1\r\n"
            f"Host: 127.0.0.1:{system.port}\r\nContent-Type: application/json\r\n"
            "Content-Length: 2\r\n\r\n{}".encode()
        )
        yield connection


def test_calls_beyond_the_limits_are_turned_away_or_wait_until_their_deadline(make: Make) -> None:
    system = make(chaos=entry(limits={"calls": 2, "queue": 1}, canary_s=60))
    with ThreadPoolExecutor(3) as pool:
        inside = [pool.submit(post, system, "late", 20, seconds=2) for _ in "12"]
        eventually(lambda: bridge(system) == (2, 0))
        waiting = pool.submit(post, system, "echo", 0.5)
        eventually(lambda: bridge(system) == (2, 1), 0.5)
        begun = time.monotonic()
        refused = post(system, "echo", 20)
        assert time.monotonic() - begun < 0.5
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) >= 1
        assert "2 calls are under way and 1 wait" in refused.json()["detail"]
        waited = waiting.result(10)
        assert waited.status_code == 504
        assert int(waited.headers["Retry-After"]) >= 1
        assert "busy until the deadline" in waited.json()["detail"]
        assert [call.result(10).status_code for call in inside] == [200, 200]
    assert bridge(system) == (0, 0)
    assert post(system, "echo", 5).status_code == 200


def test_a_call_out_of_its_time_is_answered_so_and_frees_its_place(make: Make) -> None:
    system = make(chaos=entry(limits={"calls": 1, "queue": 0}))
    begun = time.monotonic()
    assert post(system, "hold", 0.5).status_code == 504
    assert 0.5 <= time.monotonic() - begun < 1.5
    assert post(system, "echo", 5).status_code == 200


@pytest.mark.parametrize("era", ERAS)
def test_a_caller_that_leaves_cancels_its_call_exactly_once(make: Make, era: str) -> None:
    system = make(chaos=entry(era))

    def cancellations() -> list[object]:
        content = system.post(f"{TOOLS}/seen", {})["content"]
        return [
            message["params"]["requestId"]
            for message in json.loads(content[0]["text"])
            if message["method"] == "notifications/cancelled"
        ]

    with left_open(system, "hold", 1.5):
        eventually(lambda: bridge(system)[0] == 1)
        assert not cancellations()
    eventually(cancellations, 1)
    eventually(lambda: bridge(system) == (0, 0))
    time.sleep(1.6)  # past the call's deadline, at which nothing more may be said
    assert len(cancellations()) == 1


def test_a_caller_that_leaves_the_queue_sends_nothing(make: Make) -> None:
    system = make(chaos=entry(limits={"calls": 1, "queue": 5}))
    with ThreadPoolExecutor(1) as pool:
        inside = pool.submit(post, system, "late", 20, seconds=1)
        eventually(lambda: bridge(system) == (1, 0))
        with left_open(system, "exit", 20):
            eventually(lambda: bridge(system) == (1, 1))
        eventually(lambda: bridge(system)[1] == 0, 1)
        assert inside.result(10).status_code == 200
    assert post(system, "echo", 5).status_code == 200
    assert system.server("chaos")["restarts"] == 0


@pytest.mark.parametrize("era", ERAS)
def test_a_call_that_reports_progress_may_take_longer_than_its_time(make: Make, era: str) -> None:
    system = make(chaos=entry(era))
    answer = post(system, "progress", 1, n=6, base=0, pause_s=0.4)
    assert answer.status_code == 200, answer.text
    assert post(system, "late", 1, seconds=2.4).status_code == 504
