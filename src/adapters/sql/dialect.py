"""All in which the databases differ: their clock, how they are opened, how they name a fault."""

import sqlite3
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy import URL, Connection, Float, Index, UniqueConstraint, bindparam, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from adapters.sql.core_only import AsyncConnection, AsyncEngine, create_async_engine
from adapters.sql.tables import Utc, metadata
from adapters.sql.visits import connected

SQLITE = "sqlite"
LOCK_WAIT_S = 5.0
# A writer of another process holds the file for milliseconds; longer means it hangs.
SQLITE_READERS = 4
# Each connection is a thread, and two cores serve no more readers at once.
POSTGRES_POOL = 8
# Transactions here last milliseconds: more connections would only wait on each other.
STARTERS_LOCK = 0x73757461
# Any number will do as long as every version of this system takes the same ("suta").


class Now(FunctionElement[Any]):
    """The database's clock, the same all through a statement; milliseconds on SQLite."""

    type = Utc()
    inherit_cache = True


class After(FunctionElement[Any]):
    """Now and so many seconds; NULL for NULL."""

    type = Utc()
    inherit_cache = True


def after(parameter: str) -> After:
    """The time that lies the bound `parameter`, in seconds, ahead."""
    return After(bindparam(parameter, type_=Float()))


def seconds(duration: timedelta | None) -> float | None:
    """A duration as a parameter of `after`."""
    return None if duration is None else duration.total_seconds()


@compiles(Now, "sqlite")
def _(*_: Any, **_options: Any) -> str:
    return "strftime('%Y-%m-%d %H:%M:%f000', 'now')"


@compiles(After, "sqlite")
def _(element: After, compiler: SQLCompiler, **options: Any) -> str:
    distance = compiler.process(element.clauses, **options)
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', {distance} || ' seconds')"


@compiles(Now, "postgresql")
def _(*_: Any, **_options: Any) -> str:
    return "statement_timestamp()"


@compiles(After, "postgresql")
def _(element: After, compiler: SQLCompiler, **options: Any) -> str:
    distance = compiler.process(element.clauses, **options)
    return f"(statement_timestamp() + make_interval(secs => {distance}))"


class Engines(msgspec.Struct, frozen=True, kw_only=True):
    """Where writing and reading transactions come from; `place` may be shown to people."""

    writer: AsyncEngine
    reader: AsyncEngine
    place: str

    @property
    def pools(self) -> tuple[Any, ...]:
        """Their pools, each once."""
        pools = (self.writer.pool, self.reader.pool)
        return pools[:1] if pools[0] is pools[1] else pools

    async def dispose(self) -> None:
        """Close every connection."""
        await self.writer.dispose()
        await self.reader.dispose()


def engines(url: URL) -> Engines:
    """Engines that connect on first use."""
    if url.get_backend_name() == SQLITE:
        return Engines(
            writer=_sqlite(url, 1, "BEGIN IMMEDIATE", ("journal_mode=WAL", "synchronous=FULL")),
            reader=_sqlite(url, SQLITE_READERS, "BEGIN", ("query_only=ON",)),
            place=f"the database file {url.database}",
        )
    engine = create_async_engine(url, pool_size=POSTGRES_POOL, max_overflow=0, pool_pre_ping=True)
    return Engines(
        writer=engine,
        reader=engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        ),
        place=f"the database {url.database} at {url.host}",
    )


def _sqlite(url: URL, size: int, begin: str, pragmas: tuple[str, ...]) -> AsyncEngine:
    wait_s = float(str(url.query.get("timeout", LOCK_WAIT_S)))
    every = ("foreign_keys=ON", *pragmas)
    engine = create_async_engine(
        url,
        pool_size=size,
        max_overflow=0,
        async_creator=lambda: connected(str(url.database), wait_s, every),
    )

    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine.sync_engine, "begin", start)
    return engine


def attempt(connection: AsyncConnection) -> AbstractAsyncContextManager[object]:
    """Where a statement may break a constraint and the transaction go on all the same.

    SQLite takes back the statement alone; PostgreSQL does so only after a savepoint.
    """
    return nullcontext() if connection.dialect.name == SQLITE else connection.begin_nested()


async def lock_starters(connection: AsyncConnection) -> None:
    """Let one starter at a time change tables; on SQLite the write transaction does so."""
    if connection.dialect.name != SQLITE:
        await connection.execute(text(f"SELECT pg_advisory_xact_lock({STARTERS_LOCK})"))


def _by_columns() -> dict[str, str]:
    names: dict[str, str] = {}
    for table in metadata.tables.values():
        unique = [table.primary_key, *table.indexes, *table.constraints]
        for rule in unique:
            if rule is table.primary_key or isinstance(rule, UniqueConstraint | Index):
                names[", ".join(f"{table.name}.{column.name}" for column in rule.columns)] = str(
                    rule.name
                )
    return names


_CONSTRAINT_BY_COLUMNS = _by_columns()


def violated(error: DBAPIError) -> str:
    """The name of the constraint that a statement broke, empty where it cannot be told."""
    if isinstance(error.orig, sqlite3.Error):
        # "UNIQUE constraint failed: agents.agent_id": SQLite names columns, not constraints.
        return _CONSTRAINT_BY_COLUMNS.get(str(error.orig).rpartition(": ")[2], "")
    return str(getattr(error.orig.__cause__, "constraint_name", "")) if error.orig else ""


_SQLITE_WORDS = {
    "SQLITE_BUSY": "is locked by another process",
    "SQLITE_CANTOPEN": "cannot be opened",
    "SQLITE_CORRUPT": "is damaged",
    "SQLITE_FULL": "has no room left on its disk",
    "SQLITE_NOTADB": "is no SQLite database",
    "SQLITE_READONLY": "cannot be written",
}


FAULTS = (DBAPIError, PoolTimeoutError, OSError, sqlite3.Error)
# What drivers raise, wrapped or bare: asyncpg's refused connections are OSErrors.


def fault(error: BaseException) -> str:
    """What is wrong with the database, in words that hold no value and no secret."""
    orig = error.orig if isinstance(error, DBAPIError) else error
    name = getattr(orig, "sqlite_errorname", "")
    for code, words in _SQLITE_WORDS.items():
        if name.startswith(code):
            return words
    if "no such table" in str(orig):
        return "has not the tables that this version needs"
    return f"did not answer ({name or type(orig).__name__})"
