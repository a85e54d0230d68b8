"""The whole system with servers in containers of a real engine."""

import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.real.engine import Engine
from tests.real.python_image import INTERPRETER, PYTHON
from tests.system.running import System, eventually

pytestmark = pytest.mark.containers

Make = Callable[..., System]
ECHO = "/api/v1/mcp/servers/boxed/tools/echo"
BACK_S = 40.0


def deploy(system: System, name: str = "boxed", **body: Any) -> Any:
    given = {"name": name, "image": PYTHON, "limits": {"memory_mb": 256}} | body
    return system.post("/api/v1/mcp/deploy", given, 201)


def deployed(system: System) -> Any:
    deploy(system)
    return system.until_ready("boxed")


def test_a_deployed_server_is_called_over_rest_chat_and_a_task(
    make: Make, real_engine: Engine
) -> None:
    system = make().start()
    status = system.get("/api/v1/mcp/dind/status")
    assert status["dind_container_running"] is True
    assert status["engine_version"]
    entry = deployed(system)
    assert real_engine.running("boxed") == [entry["container_id"]]

    assert system.post(ECHO, {"text": "hello"})["content"][0]["text"] == "hello"
    chat = system.post("/api/v1/chat", {"message": '/tool boxed__echo {"text": "by chat"}'})
    assert "by chat" in chat["response"]
    payload = {"server": "boxed", "tool": "echo", "arguments": {"text": "by task"}}
    task = system.post("/api/v1/tasks", {"task_type": "tool", "payload": payload}, 201)
    assert system.finished(task["task_id"])["status"] == "succeeded"

    (container,) = system.get("/api/v1/mcp/dind/status")["containers"]
    assert (container["server"], container["state"]) == ("boxed", "running")
    assert container["memory_bytes"] == 256_000_000
    usage = system.get(f"/api/v1/mcp/dind/containers/{container['container_id']}/stats")
    assert usage["memory_bytes"] > 0
    assert system.get("/health")["services"]["docker"] == "healthy"
    assert system.get("/api/v1/mcp/status")["dind_status"] == "healthy"

    assert system.client.delete("/api/v1/mcp/deploy/boxed").status_code == 204
    assert real_engine.running("boxed") == []
    assert system.end() == 0


def test_a_killed_container_shows_within_a_second_and_comes_back(
    make: Make, real_engine: Engine
) -> None:
    system = make().start()
    before = deployed(system)
    real_engine.kill_container(before["container_id"])
    seen = eventually(lambda: (s := system.server("boxed"))["state"] != "ready" and s, 1.0)
    assert "signal 9" in seen["reason"]
    after = system.until_ready("boxed", BACK_S)
    assert after["container_id"] != before["container_id"]
    assert after["restarts"] == 1
    assert real_engine.running("boxed") == [after["container_id"]]


def test_after_sigkill_and_a_new_start_there_is_one_container_a_server(
    make: Make, real_engine: Engine
) -> None:
    system = make().start()
    first = deployed(system)
    system.end(signal.SIGKILL)
    system.start()
    again = system.until_ready("boxed", BACK_S)
    assert again["container_id"] != first["container_id"]
    assert real_engine.running("boxed") == [again["container_id"]]
    assert system.client.delete("/api/v1/mcp/servers/boxed").status_code == 204
    assert real_engine.running("boxed") == []


def test_an_engine_restarted_under_load_fails_calls_clearly_and_its_servers_return(
    make: Make, real_engine: Engine
) -> None:
    system = make().start()
    deployed(system)
    outcomes: list[int] = []
    stop = threading.Event()

    def load() -> None:
        with httpx.Client(base_url=system.client.base_url, timeout=30) as client:
            while not stop.is_set():
                outcomes.append(client.post(ECHO, json={"text": "x"}).status_code)
                time.sleep(0.01)

    callers = [threading.Thread(target=load) for _ in range(4)]
    for caller in callers:
        caller.start()
    try:
        eventually(lambda: outcomes.count(200) > 50)
        real_engine.stop()
        eventually(lambda: system.get("/health")["services"]["docker"] == "degraded", 5)
        entry = system.server("boxed")
        assert not entry["healthy"]
        assert "cannot be reached" in entry["reason"]
        real_engine.start()
        system.until_ready("boxed", BACK_S)
        good = outcomes.count(200)
        eventually(lambda: outcomes.count(200) > good + 50)
    finally:
        stop.set()
        for caller in callers:
            caller.join()
    assert set(outcomes) <= {200, 502, 503}
    assert eventually(lambda: system.get("/health")["services"]["docker"] == "healthy")
    eventually(lambda: len(real_engine.running("boxed")) == 1)


REFUSED: tuple[tuple[dict[str, Any], int, str], ...] = (
    ({"image": "evil/miner:1"}, 422, "SUTAZAI_ALLOWED_IMAGES"),
    ({"image": "sutazai-test/nowhere:1"}, 404, "sutazai-test/nowhere:1"),
    ({"image": f"{PYTHON}@sha256:{'0' * 64}"}, 404, "0000"),
    ({"image": "not an image"}, 422, "image"),
    ({"limits": {"memory_mb": 1_000_000}}, 422, "memory_mb"),
    ({"limits": {"cpu_percent": 90_000}}, 422, "cpu_percent"),
    ({"engine": "elsewhere"}, 422, "elsewhere"),
    ({"mounts": ["secrets"]}, 422, "secrets"),
    ({"known": "files"}, 422, "one of image and known"),
    ({"image": None, "known": "files"}, 422, "base"),
    ({"image": None, "known": "files", "base": "evil/base:1"}, 422, "SUTAZAI_ALLOWED_IMAGES"),
    ({"image": None, "known": "nobody", "base": PYTHON}, 422, "nobody"),
    ({"image": None, "known": "github", "base": PYTHON}, 422, "GITHUB_PERSONAL_ACCESS_TOKEN"),
    # The base has no npm: the build fails and says so.
    ({"image": None, "known": "files", "base": PYTHON}, 422, "npm"),
)


def test_deploys_that_cannot_be_are_refused_and_leave_nothing(
    make: Make, real_engine: Engine
) -> None:
    system = make().start()
    for body, status, word in REFUSED:
        given = {"name": "boxed", "image": PYTHON} | body
        wanted = {key: value for key, value in given.items() if value is not None}
        answer = system.client.post("/api/v1/mcp/deploy", json=wanted)
        assert answer.status_code == status, answer.text
        assert word in answer.json()["detail"], answer.text
    assert system.client.get("/api/v1/mcp/servers/boxed").status_code == 404
    assert system.client.delete("/api/v1/mcp/deploy/sutazai").status_code == 404
    assert real_engine.running("boxed") == []
    deployed(system)
    again = system.client.post("/api/v1/mcp/deploy", json={"name": "boxed", "image": PYTHON})
    assert again.status_code == 409


SPEAKING = """
import runpy, sys
print("first words", file=sys.stderr, flush=True)
runpy.run_module("entrypoints.mcp.bundled", run_name="__main__")
"""


def test_diagnostics_are_streamed_until_the_containers_end(make: Make, real_engine: Engine) -> None:
    system = make().start()
    deploy(system, command=[str(INTERPRETER), "-P", "-c", SPEAKING])
    container = system.until_ready("boxed", BACK_S)["container_id"]
    path = f"/api/v1/mcp/dind/containers/{container}/logs"
    with system.client.stream("GET", path) as answer:
        lines = answer.iter_lines()
        assert next(line for line in lines if line.startswith("data:")) == (
            'data: {"line":"first words"}'
        )
        real_engine.kill_container(container)
        assert "event: done" in list(lines)
    assert system.client.get(f"{path[:-5]}x/logs").status_code == 404
