"""Images got from a registry: pulled once, pinned by digest, and clear errors where that fails."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from adapters.docker.engine import DockerEngine
from domain.model.containers import Container, ImageNotFound
from domain.ports.launching import LaunchFailed
from tests.contracts.engines import NAME
from tests.contracts.launching import LONG, read_exactly
from tests.real.engine import Engine, box_tar
from tests.real.python_image import HOME, INTERPRETER, python_tar
from tests.real.registry import Registry, registry
from tests.system.running import System

pytestmark = [pytest.mark.anyio, pytest.mark.containers]

WRONG = "sha256:" + "0" * 64
CAT = ("/bin/busybox", "cat")
BUNDLED = {
    "Env": [f"PYTHONPATH={HOME}", "PYTHONDONTWRITEBYTECODE=1"],
    "Cmd": [str(INTERPRETER), "-P", "-m", "entrypoints.mcp.bundled"],
}


@pytest.fixture
def shelf() -> Iterator[Registry]:
    with registry() as served:
        yield served


async def test_an_image_is_pulled_once_and_pinned_by_its_digest(
    engine: DockerEngine, shelf: Registry
) -> None:
    digest = shelf.serve("box", "1", box_tar())
    image = f"{shelf.place}/box:1"
    pinned = await engine.images.resolve(image, pull=True)
    assert pinned == f"{shelf.place}/box@{digest}"

    asked = len(shelf.pulls)
    assert await engine.images.resolve(image, pull=True) == pinned
    child = await engine.launch(NAME, Container(image=image, pinned=pinned, command=CAT))
    await child.stream.write(b"hello")
    assert await read_exactly(child.stream, 5) == b"hello"
    await child.end(LONG)
    assert len(shelf.pulls) == asked


async def test_a_pinned_image_stays_the_same_when_its_tag_moves(
    engine: DockerEngine, shelf: Registry
) -> None:
    first = shelf.serve("moving", "1", box_tar())
    pinned = f"{shelf.place}/moving@{first}"
    second = shelf.serve("moving", "1", box_tar(), {"Labels": {"of": "later"}})
    assert second != first
    assert await engine.images.resolve(pinned, pull=True) == pinned


@pytest.mark.parametrize("what", ["absent:1", "box:2", f"box@{WRONG}"])
async def test_what_the_registry_lacks_is_told_with_its_words(
    engine: DockerEngine, shelf: Registry, what: str
) -> None:
    shelf.serve("box", "1", box_tar())
    image = f"{shelf.place}/{what}"
    with pytest.raises(ImageNotFound, match=r"could not be got: .*(manifest|not found)"):
        await engine.images.resolve(image, pull=True)
    with pytest.raises(LaunchFailed, match="could not be got"):
        await engine.launch(NAME, Container(image=image, pull=True, command=CAT))


async def test_a_registry_that_is_not_there_is_told(engine: DockerEngine) -> None:
    with registry() as gone:
        image = f"{gone.place}/box:1"
    with pytest.raises(ImageNotFound, match="connection refused"):
        await engine.images.resolve(image, pull=True)


def test_a_server_is_deployed_from_a_registry(
    make: Callable[..., System], real_engine: Engine, shelf: Registry
) -> None:
    digest = shelf.serve("tools/python", "1", python_tar(), BUNDLED)
    system = make(allowed_images=f"{shelf.place}/tools/*").start()
    body: dict[str, Any] = {"name": "pulled", "image": f"{shelf.place}/tools/python:1"}
    system.post("/api/v1/mcp/deploy", body | {"limits": {"memory_mb": 256}}, 201)
    system.until_ready("pulled", 60)
    called = system.post("/api/v1/mcp/servers/pulled/tools/echo", {"text": "from afar"})
    assert called["content"][0]["text"] == "from afar"
    (container_id,) = real_engine.running("pulled")
    with real_engine.client() as client:
        inspected = client.get(f"/containers/{container_id}/json").json()
    assert inspected["Config"]["Image"] in {
        f"{shelf.place}/tools/python@{digest}",
        inspected["Image"],
    }

    missing = body | {"name": "missing", "image": f"{shelf.place}/tools/absent:1"}
    refused = system.client.post("/api/v1/mcp/deploy", json=missing)
    assert refused.status_code == 404, refused.text
    assert "could not be got" in refused.json()["detail"]
    assert real_engine.running("missing") == []
