"""Systems for tests, ended with them."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from adapters.sql import migrate
from tests.real.postgres import new_database
from tests.system.running import System

Make = Callable[..., System]
DATABASES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.services)]


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


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database for several processes: a file, a real PostgreSQL."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'shared.db'}"
        return
    with new_database(request.getfixturevalue("postgres_url")) as url:
        asyncio.run(migrate.upgrade(url))
        yield url
