"""The tables' way from one version of this system to the next."""

import re
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, String, column, select, table

from adapters.sql.core_only import AsyncConnection
from adapters.sql.opening import engines
from adapters.sql.pool import PostgresLimits
from adapters.sql.statements import translated
from adapters.sql.tables import metadata
from domain.ports.storage import StorageUnavailable

PATIENT = PostgresLimits(pool_size=1, statement_timeout=None)
# A table may be large, and whoever waits for another starter waits to its end.
VERSION_TABLE = "alembic_version"
_REVISION = re.compile(r'^revision = "(\w+)"', re.MULTILINE)
_FOLLOWS = re.compile(r'^down_revision = "(\w+)"', re.MULTILINE)
_CURRENT = select(column("version_num", String)).select_from(table(VERSION_TABLE))


class RevisionUnknown(StorageUnavailable):
    """The tables are of a version that this one does not know, most likely a newer one."""


def folder() -> Path:
    """Where the revisions lie: inside the wheel, or at the root of a checkout."""
    inside = Path(__file__).parent / "migrations"
    return inside if inside.is_dir() else Path(__file__).parents[3] / "migrations"


@cache
def head() -> str:
    """The newest revision, read from the files' text: Alembic is too large to import for it."""
    followed = {found[1] for text in _texts() if (found := _FOLLOWS.search(text))}
    (newest,) = _revisions() - followed
    return newest


def _revisions() -> set[str]:
    return {found[1] for text in _texts() if (found := _REVISION.search(text))}


@cache
def _texts() -> tuple[str, ...]:
    return tuple(path.read_text("utf-8") for path in (folder() / "versions").glob("*.py"))


async def current(connection: AsyncConnection) -> str | None:
    """The revision that the database's tables have, None before the first."""
    known = await connection.run_sync(lambda sync: sync.dialect.has_table(sync, VERSION_TABLE))
    if not known:
        return None
    revision = (await connection.execute(_CURRENT)).scalar()
    return None if revision is None else str(revision)


async def upgrade(url: str, revision: str = "head") -> None:
    """Bring the tables to `revision`, all of it or nothing; of many starters one does the work.

    Costs one look where they are there already. Raises StorageUnavailable, RevisionUnknown for
    tables that a newer version has made.
    """
    await _migrate(url, "upgrade", revision)


async def downgrade(url: str, revision: str) -> None:
    """Take the tables back to `revision` (`base`: none), their rows with them."""
    await _migrate(url, "downgrade", revision)


async def differences(url: str) -> tuple[str, ...]:
    """How the database's tables differ from those that this version declares."""
    opened = engines(url, PATIENT)
    try:
        with translated(opened):
            async with opened.reader.connect() as connection:
                return await connection.run_sync(_compare)
    finally:
        await opened.dispose()


async def _migrate(url: str, direction: str, revision: str) -> None:
    opened = engines(url, PATIENT)
    goal = head() if revision == "head" else revision
    try:
        with translated(opened):
            async with opened.writer.begin() as connection:
                await opened.dialect.lock_starters(connection)
                present = await current(connection)
                if present not in {None, *_revisions()}:
                    raise RevisionUnknown(
                        f"The tables of {opened.place} are at revision {present}, which this "
                        f"version does not know: it ends at {head()}. Most likely a newer one "
                        "made them."
                    )
                if present != goal:
                    await connection.run_sync(_run, direction, goal)
    finally:
        await opened.dispose()


def _run(connection: Connection, direction: str, revision: str) -> None:
    from alembic import command  # noqa: PLC0415 - 12 MB, needed once a version
    from alembic.config import Config  # noqa: PLC0415 - as above

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(folder()).replace("%", "%%"))
    step: Any = getattr(command, direction)
    step(config, revision)


def _compare(connection: Connection) -> tuple[str, ...]:
    from alembic.autogenerate import compare_metadata  # noqa: PLC0415 - for developers only
    from alembic.migration import MigrationContext  # noqa: PLC0415 - as above

    return tuple(map(repr, compare_metadata(MigrationContext.configure(connection), metadata)))
