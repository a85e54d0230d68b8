"""Every store that has to keep the contract: the twin, SQLite on a file, a real PostgreSQL."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from adapters.inmemory.system import ManualClock
from adapters.inmemory.transactions import MemoryTransactions
from adapters.sql import migrate
from adapters.sql.engine import Database, open_database
from adapters.sql.tables import metadata
from tests.contracts.storage import Store
from tests.real.postgres import new_database

STORES = ["memory", "sqlite", pytest.param("postgresql", marks=pytest.mark.services)]


def _url(path: Path) -> str:
    return f"sqlite+aiosqlite:///{path}"


async def _migrate(path: Path) -> None:
    await migrate.upgrade(_url(path))
    database = open_database(_url(path))
    async with database.transactions.begin() as transaction:
        for agent in await transaction.agents.list():
            await transaction.agents.remove(agent.agent_id)
    await database.dispose()


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with all tables and no rows, to copy."""
    path = tmp_path_factory.mktemp("storage") / "empty.db"
    asyncio.run(_migrate(path))
    return path


@pytest.fixture(scope="session")
def postgres_database(postgres_url: str) -> Iterator[str]:
    """A database for these tests alone, which empty it."""
    with new_database(postgres_url) as url:
        yield url


async def _emptied(url: str) -> Database:
    await migrate.upgrade(url)
    database = open_database(url)
    async with database.transactions._engines.writer.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            await connection.execute(table.delete())
    return database


@pytest.fixture(params=STORES)
async def store(
    request: pytest.FixtureRequest, empty_database: Path, tmp_path: Path
) -> AsyncIterator[Store]:
    if request.param == "memory":
        clock = ManualClock()

        async def advance(by: timedelta) -> None:
            clock.advance(by)

        yield Store(transactions=MemoryTransactions(clock), advance=advance)
        return

    async def pass_for_real(by: timedelta) -> None:
        # SQLite's clock counts milliseconds: one more, and the time is surely over.
        await asyncio.sleep(by.total_seconds() + 0.002)

    if request.param == "postgresql":
        database = await _emptied(request.getfixturevalue("postgres_database"))
    else:
        path = tmp_path / "store.db"
        shutil.copy(empty_database, path)
        database = open_database(_url(path))
    yield Store(transactions=database.transactions, advance=pass_for_real)
    await database.dispose()
