"""The databases that faults are tried on, and clusters on them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from tests.faults.cluster import Cluster
from tests.real.postgres import Postgres, new_database, postgres
from tests.real.redis import Redis, redis

SQLITE, POSTGRESQL, WITH_REDIS = "SQLite", "PostgreSQL", "PostgreSQL + Redis"
Make = Callable[..., Cluster]


def on(*databases: str) -> pytest.MarkDecorator:
    """Try a fault on these databases."""
    return pytest.mark.parametrize("database", databases)


everywhere = on(SQLITE, POSTGRESQL, WITH_REDIS)
on_servers = on(POSTGRESQL, WITH_REDIS)


@pytest.fixture(scope="package")
def server() -> Iterator[Postgres]:
    """A PostgreSQL that may be ended and started again."""
    with postgres() as started:
        yield started


@pytest.fixture(scope="package")
def redis_server() -> Iterator[Redis]:
    """A Redis that may be ended and started again."""
    with redis() as started:
        yield started


@pytest.fixture(scope="package")
def portal() -> Iterator[BlockingPortal]:
    """A loop beside the tests, for what they ask of databases themselves."""
    with start_blocking_portal() as opened:
        yield opened


@pytest.fixture
def make(tmp_path: Path, portal: BlockingPortal, request: pytest.FixtureRequest) -> Iterator[Make]:
    """Make clusters on databases of their own; nothing of them outlives the test."""
    with ExitStack() as stack:

        def one(database: str, through: int | None = None, **settings: str) -> Cluster:
            folder = tmp_path / "cluster"
            folder.mkdir(exist_ok=True)
            if database != SQLITE:
                server = request.getfixturevalue("server")
                settings = {
                    "database_url": stack.enter_context(new_database(server.url))
                } | settings
            if database == WITH_REDIS:
                settings |= {"redis_url": request.getfixturevalue("redis_server").url}
            return stack.enter_context(Cluster(folder, portal, through, **settings))

        yield one


@pytest.fixture
def cluster(make: Make, database: str) -> Cluster:
    """A cluster whose workers drain for two seconds."""
    return make(database, drain_s="2")
