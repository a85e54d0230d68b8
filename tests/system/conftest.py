"""Systems for tests, ended with them."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.system.running import System

Make = Callable[..., System]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make systems; whatever becomes of the test, none outlives it."""
    made: list[System] = []

    def one(servers: Mapping[str, Any] | None = None, **settings: str) -> System:
        folder = tmp_path / f"system-{len(made)}"
        folder.mkdir()
        made.append(System(folder, servers, **settings))
        return made[-1]

    yield one
    for system in made:
        system.close()
