"""What is particular to SQLite: one writer, the words of its clock and of its faults."""

import os
import sqlite3
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    FromClause,
    Index,
    Text,
    UniqueConstraint,
    bindparam,
    event,
    func,
    select,
    type_coerce,
)
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

from adapters.sql.core_only import AsyncConnection, AsyncEngine, create_async_engine
from adapters.sql.dialect import FAULTS, After, Engines, Greatest, Now
from adapters.sql.tables import metadata
from adapters.sql.visits import connected

LOCK_WAIT_S = 5.0
# A writer of another process holds the file for milliseconds; longer means it hangs.
READERS = 4
# Each connection is a thread, and two cores serve no more readers at once.

OURS = (IntegrityError, DataError, NotSupportedError, ProgrammingError)
# A statement that is wrong in itself is a programming error: it is not the store's failure.
LEAST_ROOM_BYTES = 1024 * 1024
# Less takes no transaction of the largest size; the log before it is folded in needs more.

AUTOCOMMIT = "sutazai_autocommit"
# Connections are in autocommit anyway; SQLAlchemy's own option would set them back at each return.

_WORDS = {
    "SQLITE_BUSY": "is locked by another process",
    "SQLITE_CANTOPEN": "cannot be opened",
    "SQLITE_CORRUPT": "is damaged",
    "SQLITE_FULL": "has no room left on its disk",
    "SQLITE_NOTADB": "is no SQLite database",
    "SQLITE_READONLY": "cannot be written",
}


@compiles(Now, "sqlite")
def _(*_: Any, **_options: Any) -> str:
    return "strftime('%Y-%m-%d %H:%M:%f000', 'now')"


@compiles(After, "sqlite")
def _(element: After, compiler: SQLCompiler, **options: Any) -> str:
    distance = compiler.process(element.clauses, **options)
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', {distance} || ' seconds')"


@compiles(Greatest, "sqlite")
def _(element: Greatest, compiler: SQLCompiler, **options: Any) -> str:
    return f"max({compiler.process(element.clauses, **options)})"


class Sqlite:
    """The dialect of a database file."""

    faults = (*FAULTS, sqlite3.Error)
    chains = False

    def __init__(self, path: str, least_room_bytes: int = LEAST_ROOM_BYTES) -> None:
        self._path = path
        self._least_room_bytes = least_room_bytes

    def attempt(self, _connection: AsyncConnection) -> AbstractAsyncContextManager[object]:
        return nullcontext()  # it takes back the statement alone

    async def lock_starters(self, _connection: AsyncConnection) -> None:
        """The write transaction is the lock."""

    async def lock_claims(self, _connection: AsyncConnection) -> None:
        """As above: the write transaction is the lock."""

    async def obstacle(self, _connection: AsyncConnection) -> str:
        """The file and its disk are looked at: a lock that others hold is no obstacle."""
        try:
            disk = os.statvfs(self._path)
        except FileNotFoundError:
            return "is gone"
        if disk.f_flag & os.ST_RDONLY or not os.access(self._path, os.W_OK, effective_ids=True):
            return _WORDS["SQLITE_READONLY"]
        if disk.f_bavail * disk.f_frsize < self._least_room_bytes:
            return _WORDS["SQLITE_FULL"]
        return ""

    @staticmethod
    def recordset(parameter: str, columns: Mapping[str, type[TypeEngine[Any]]]) -> FromClause:
        each = func.json_each(bindparam(parameter, type_=Text())).table_valued("value")
        values = (
            type_coerce(func.json_extract(each.c.value, f"$.{name}"), kind()).label(name)
            for name, kind in columns.items()
        )
        return select(*values).subquery(parameter)

    def violated(self, error: DBAPIError) -> str:
        # "UNIQUE constraint failed: agents.agent_id": it names columns, not constraints.
        return _CONSTRAINT_BY_COLUMNS.get(str(error.orig).rpartition(": ")[2], "")

    def fault(self, error: BaseException) -> str | None:
        if isinstance(error, OURS):
            return None
        orig = error.orig if isinstance(error, DBAPIError) else error
        name = getattr(orig, "sqlite_errorname", "")
        for code, words in _WORDS.items():
            if name.startswith(code):
                return words
        if "no such table" in str(orig):
            return "has not the tables that this version needs"
        return f"did not answer ({name or type(orig).__name__})"


def sqlite_engines(url: URL) -> Engines:
    """One connection that writes, some that read."""
    writer = _engine(url, 1, "BEGIN IMMEDIATE", ("journal_mode=WAL", "synchronous=FULL"))
    return Engines(
        dialect=Sqlite(str(url.database)),
        writer=writer,
        autocommit=writer.execution_options(**{AUTOCOMMIT: True}),
        reader=_engine(url, READERS, "BEGIN", ("query_only=ON",)),
        place=f"the database file {url.database}",
    )


def _engine(url: URL, size: int, begin: str, pragmas: tuple[str, ...]) -> AsyncEngine:
    wait_s = float(str(url.query.get("timeout", LOCK_WAIT_S)))
    every = ("foreign_keys=ON", *pragmas)
    engine = create_async_engine(
        url,
        pool_size=size,
        max_overflow=0,
        hide_parameters=True,
        async_creator=lambda: connected(str(url.database), wait_s, every),
    )

    def start(connection: Connection) -> None:
        if AUTOCOMMIT not in connection.get_execution_options():
            connection.exec_driver_sql(begin)

    event.listen(engine.sync_engine, "begin", start)
    return engine


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
