"""Two real engines at once: what is placed where, and what the end of one does to the other."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.real.engine import Engine
from tests.real.python_image import CHANGES, PYTHON, python_tar
from tests.system.running import System, eventually

pytestmark = pytest.mark.containers

NAMES = ("one", "two", "three", "four")
BACK_S = 40.0


@pytest.fixture
def other_engine(real_engine: Engine) -> Iterator[Engine]:
    engine = Engine()
    try:
        engine.start()
        engine.bring_in(PYTHON, python_tar(), CHANGES)
        yield engine
    finally:
        engine.close()


@pytest.fixture
def system(
    real_engine: Engine, other_engine: Engine, python_image: str, tmp_path: Path
) -> Iterator[System]:
    hosts = {"engines__a__host": real_engine.host, "engines__b__host": other_engine.host}
    system = System(tmp_path, None, allowed_images="sutazai-test/*", **hosts).start()
    yield system
    system.close()
    real_engine.empty()


def test_servers_are_spread_over_engines_and_one_engines_end_is_the_other_ones_not(
    system: System, real_engine: Engine, other_engine: Engine
) -> None:
    for name in NAMES:
        body: dict[str, Any] = {"name": name, "image": PYTHON, "limits": {"memory_mb": 256}}
        system.post("/api/v1/mcp/deploy", body, 201)
        system.until_ready(name, BACK_S)
    on: dict[str, list[str]] = {"a": [], "b": []}
    for container in system.get("/api/v1/mcp/dind/status")["containers"]:
        on[container["engine"]].append(container["server"])
    assert len(on["a"]) == len(on["b"]) == 2
    assert all(real_engine.running(name) for name in on["a"])
    assert all(other_engine.running(name) for name in on["b"])

    before = {name: system.server(name)["container_id"] for name in on["a"]}
    other_engine.stop()
    eventually(lambda: not any(system.server(name)["healthy"] for name in on["b"]), 5)
    unheard = "engine 'b' cannot be reached"
    eventually(lambda: all(unheard in system.server(name)["reason"] for name in on["b"]), 20)
    for name in on["a"]:
        called = system.post(f"/api/v1/mcp/servers/{name}/tools/echo", {"text": name})
        assert called["content"][0]["text"] == name
        assert system.server(name)["container_id"] == before[name]
    assert system.get("/health")["services"]["docker"] == "degraded"

    other_engine.start()
    for name in on["b"]:
        system.until_ready(name, BACK_S)
    eventually(lambda: system.get("/health")["services"]["docker"] == "healthy")


def test_a_deploy_that_names_an_engine_goes_there(
    system: System, real_engine: Engine, other_engine: Engine
) -> None:
    for name in NAMES[:2]:
        system.post("/api/v1/mcp/deploy", {"name": name, "image": PYTHON, "engine": "b"}, 201)
        system.until_ready(name, BACK_S)
        assert len(other_engine.running(name)) == 1
        assert real_engine.running(name) == []
