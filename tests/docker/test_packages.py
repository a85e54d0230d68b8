"""Known packages of PyPI and npm: built on a base of the user's choice, and served from there."""

from collections.abc import Callable
from pathlib import Path

import pytest

from domain.model.recipes import Npm, Pypi
from domain.orchestration.known import KNOWN
from tests.real import node_image
from tests.real.engine import Engine
from tests.real.pip_image import CHANGES, PIP, pip_tar
from tests.system.running import System, eventually

pytestmark = [pytest.mark.containers, pytest.mark.timeout(600)]


def test_a_known_package_of_pypi_is_built_on_a_base_and_called(
    make: Callable[..., System], real_engine: Engine, tmp_path: Path
) -> None:
    recipe = next(known.recipe for known in KNOWN if known.name == "ddg")
    assert isinstance(recipe, Pypi)
    wanted = (f"{recipe.package}=={recipe.version}", *recipe.constraints)
    real_engine.bring_in(PIP, pip_tar(wanted, tmp_path), CHANGES)
    system = make().start()
    body = {"name": "searching", "known": "ddg", "base": PIP, "limits": {"memory_mb": 512}}
    answer = system.client.post("/api/v1/mcp/deploy", json=body, timeout=300)
    assert answer.status_code == 201, answer.text
    path = "/api/v1/mcp/servers/searching"
    entry = eventually(lambda: (s := system.get(path))["state"] != "starting" and s, 60)
    assert entry["state"] == "ready", entry["log_tail"][-3:]
    assert real_engine.running("searching") == [entry["container_id"]]
    names = {tool["name"] for tool in system.get("/api/v1/mcp/tools", server="searching")["tools"]}
    assert "search" in names
    # It has no network: the package's own code runs, and says so in its own words.
    called = system.post("/api/v1/mcp/servers/searching/tools/search", {"query": "anything"})
    assert called["content"][0]["type"] == "text"


def test_a_known_package_of_npm_is_built_on_a_base_and_called(
    make: Callable[..., System], real_engine: Engine, tmp_path: Path
) -> None:
    recipe = next(known.recipe for known in KNOWN if known.name == "sequentialthinking")
    assert isinstance(recipe, Npm)
    tar = node_image.npm_tar(f"{recipe.package}@{recipe.version}", tmp_path)
    real_engine.bring_in(node_image.NPM, tar, node_image.CHANGES)
    system = make().start()
    body = {"name": "thinking", "known": "sequentialthinking", "base": node_image.NPM}
    limits = {"limits": {"memory_mb": 1024}}
    answer = system.client.post("/api/v1/mcp/deploy", json=body | limits, timeout=300)
    assert answer.status_code == 201, answer.text
    path = "/api/v1/mcp/servers/thinking"
    entry = eventually(lambda: (s := system.get(path))["state"] != "starting" and s, 60)
    assert entry["state"] == "ready", entry["log_tail"][-5:]
    thought = {
        "thought": "It runs.",
        "nextThoughtNeeded": False,
        "thoughtNumber": 1,
        "totalThoughts": 1,
    }
    called = system.post(f"{path}/tools/sequentialthinking", thought)
    assert called["structured_content"]["thoughtNumber"] == 1
