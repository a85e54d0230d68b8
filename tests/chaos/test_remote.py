"""A remote server whose calls fail: its breaker opens, says so, and lets it back."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.chaos.conftest import Make
from tests.chaos.upstream import Manner, Upstream, upstream
from tests.system.running import System, eventually

OPENS_AFTER = 5
# Failures in a row, by the breaker's usual policy; it stays open for 5 s at first.
AT_ONCE_S = 0.5


def entry(server: Upstream) -> dict[str, Any]:
    return {"url": server.url, "sutazai": {"canary_s": 1}}


def call(system: System, timeout_s: float = 20) -> httpx.Response:
    path = f"/api/v1/mcp/servers/far/tools/echo?timeout_s={timeout_s}"
    return httpx.post(f"{system.client.base_url}{path}", json={}, timeout=30)


def at_once(system: System, number: int, timeout_s: float) -> list[int]:
    with ThreadPoolExecutor(number) as pool:
        calls = [pool.submit(call, system, timeout_s) for _ in range(number)]
        return [one.result(30).status_code for one in calls]


def breaker(system: System) -> Any:
    breakers = system.get("/api/v1/circuit-breakers")["breakers"]
    return next(one for one in breakers if one["name"] == "server:far")


def refused_unasked(system: System, server: Upstream) -> httpx.Response:
    """A call that fails at once, of which the server learns nothing."""
    heard, begun = server.calls, time.monotonic()
    answer = call(system)
    assert (answer.status_code, server.calls) == (503, heard)
    assert time.monotonic() - begun < AT_ONCE_S
    assert int(answer.headers["Retry-After"]) >= 1
    return answer


@pytest.mark.parametrize(
    ("manner", "timeout_s", "status", "why"),
    [
        (Manner.ERRORS, 20, 502, "the server answered HTTP 500"),
        (Manner.CUTS, 20, 502, "the server broke the connection"),
        (Manner.HANGS, 1.5, 504, "no answer to tools/call in time"),
    ],
)
def test_a_server_that_fails_in_calls_only_is_not_asked_for_a_while(
    make: Make, manner: Manner, timeout_s: float, status: int, why: str
) -> None:
    with upstream() as server:
        system = make(far=entry(server))
        assert call(system).status_code == 200
        server.manner = manner
        assert at_once(system, OPENS_AFTER, timeout_s) == [status] * OPENS_AFTER
        assert why in refused_unasked(system, server).json()["detail"]
        opened = breaker(system)
        assert (opened["state"], opened["failures"]) == ("open", OPENS_AFTER)
        assert why in opened["reason"]
        now = system.server("far")
        assert (now["state"], now["restarts"]) == ("degraded", 0)
        assert f"{OPENS_AFTER} calls in a row failed: " in now["reason"]
        assert "far is degraded" in system.get("/health")["details"]["mcp"]["reason"]

        server.manner = Manner.WELL
        server.released.set()
        eventually(lambda: call(system).status_code == 200, 8)  # the first one let through
        assert breaker(system)["state"] == "closed"
        now = system.server("far")
        assert (now["state"], now["reason"], now["restarts"]) == ("ready", "", 0)


def test_an_open_breaker_is_reset_by_hand_and_opens_again_at_the_next_failures(make: Make) -> None:
    with upstream() as server:
        system = make(far=entry(server))
        server.manner = Manner.ERRORS
        at_once(system, OPENS_AFTER, 20)
        refused_unasked(system, server)
        assert system.post("/api/v1/circuit-breakers/server:far/reset")["state"] == "closed"
        assert system.server("far")["state"] == "ready"
        assert at_once(system, OPENS_AFTER, 20) == [502] * OPENS_AFTER
        refused_unasked(system, server)


def test_half_of_the_calls_fail_alone_and_the_other_half_is_served(make: Make) -> None:
    with upstream() as server:
        system = make(far=entry(server))
        server.manner = Manner.EVERY_SECOND
        assert [call(system).status_code for _ in range(12)] == [502, 200] * 6
        together = at_once(system, 2 * (OPENS_AFTER - 1), 20)
        assert sorted(together) == [200] * (OPENS_AFTER - 1) + [502] * (OPENS_AFTER - 1)
        assert system.server("far")["restarts"] == 0


def test_calls_that_were_given_no_time_say_nothing_of_a_server(make: Make) -> None:
    with upstream() as server:
        system = make(far=entry(server))
        server.manner = Manner.HANGS
        assert at_once(system, 2 * OPENS_AFTER, 0.3) == [504] * 2 * OPENS_AFTER
        server.manner = Manner.WELL
        server.released.set()
        assert call(system).status_code == 200
        assert breaker(system)["state"] == "closed"


@pytest.mark.parametrize("manner", [Manner.ALL_ERRORS, Manner.GONE])
def test_a_server_that_gives_no_sign_either_is_begun_anew_until_it_serves(
    make: Make, manner: Manner
) -> None:
    with upstream() as server:
        system = make(far=entry(server))
        server.manner = manner
        if manner is Manner.GONE:
            server.go()
        down = eventually(lambda: (s := system.server("far"))["state"] != "ready" and s, 3)
        said = "cannot be reached" if manner is Manner.GONE else "HTTP 500"
        eventually(lambda: said in system.server("far")["reason"], 3)
        assert down["healthy"] is False
        assert call(system).status_code in {502, 503}
        eventually(lambda: breaker(system)["state"] == "open", 5)
        refused_unasked(system, server)
        if manner is not Manner.GONE:
            server.manner = Manner.WELL
            system.post("/api/v1/circuit-breakers/server:far/reset")
            system.until_ready("far")
            assert call(system).status_code == 200
