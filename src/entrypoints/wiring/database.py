"""The database of the settings: opened with its tables at the head, and brought there."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

from adapters.sql import migrate
from adapters.sql.engine import Database, open_database
from adapters.sql.pool import PostgresLimits
from domain.ports.storage import StorageUnavailable
from entrypoints.settings.values import Settings

RETRY_S = 0.25
# Between two tries to reach a database server that is still starting itself.


class SchemaOutdated(StorageUnavailable):
    """The database's tables are of another version of this system."""


async def opened_database(settings: Settings, stack: AsyncExitStack) -> Database:
    """An open database whose tables are at the head; SQLite's are brought there.

    Raises:
        StorageUnavailable: it cannot be reached in time, or its tables are outdated.
    """
    url = settings.database_url.reveal()
    embedded = url.startswith("sqlite")
    database = open_database(url, _limits(settings))
    stack.push_async_callback(database.dispose)
    last: StorageUnavailable | None = None
    try:
        async with asyncio.timeout(settings.startup_timeout_s):
            if embedded:
                await migrate.upgrade(url)
            while True:
                try:
                    status = await database.inspector.status()
                    break
                except StorageUnavailable as failure:
                    if embedded:
                        raise
                    last = failure
                await asyncio.sleep(RETRY_S)
    except TimeoutError:
        why = f": {last.message}" if last is not None else "."
        raise StorageUnavailable(
            f"SUTAZAI_DATABASE_URL: not reached within {settings.startup_timeout_s:g} s{why}"
        ) from last
    if status.migration_current != status.migration_head:
        raise SchemaOutdated(
            f"SUTAZAI_DATABASE_URL: the tables are at {status.migration_current}, this version "
            f"needs {status.migration_head}: run `sutazai db upgrade`."
        )
    return database


def _limits(settings: Settings) -> PostgresLimits:
    return PostgresLimits(
        pool_size=settings.database_pool_size,
        pool_timeout=timedelta(seconds=settings.database_pool_timeout_s),
        connect_timeout=timedelta(seconds=settings.database_connect_timeout_s),
        statement_timeout=timedelta(seconds=settings.database_statement_timeout_s),
    )


async def database_upgrade(settings: Settings) -> str:
    """Bring the tables to the head; return it."""
    await migrate.upgrade(settings.database_url.reveal())
    return migrate.head()


async def database_current(settings: Settings) -> tuple[str | None, str]:
    """The revision that the tables have, and the head."""
    database = open_database(settings.database_url.reveal(), _limits(settings))
    try:
        return (await database.inspector.status()).migration_current, migrate.head()
    finally:
        await database.dispose()


async def database_check(settings: Settings) -> tuple[str, ...]:
    """How the tables differ from what this version declares; empty where they do not."""
    return await migrate.differences(settings.database_url.reveal())
