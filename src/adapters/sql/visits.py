"""A SQLite connection whose statements visit its thread once, not once a step of a cursor."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Self

import aiosqlite

BUSY_PAUSE_S = 0.02
# The other one needs a millisecond or two.


class VisitingCursor:
    """What SQLAlchemy asks of a cursor; rows are fetched in the visit that runs the statement.

    Measured: a visit costs 0.1 ms, and aiosqlite's own cursor takes four for one statement.
    """

    def __init__(self, connection: "VisitingConnection") -> None:
        self._connection = connection
        self._rows: list[Any] = []
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self.arraysize = 1

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Self:
        await self._connection.visit(lambda cursor: cursor.execute(sql, parameters), self._keep)
        return self

    async def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> Self:
        await self._connection.visit(lambda cursor: cursor.executemany(sql, rows), self._keep)
        return self

    async def fetchall(self) -> list[Any]:
        rows, self._rows = self._rows, []
        return rows

    async def close(self) -> None:
        """Nothing is open: each visit closes what it opened."""

    def _keep(self, cursor: sqlite3.Cursor) -> None:
        self._rows = cursor.fetchall()
        self.description = cursor.description
        self.rowcount = cursor.rowcount
        self.lastrowid = cursor.lastrowid


class VisitingConnection(aiosqlite.Connection):
    """A connection in autocommit: transactions are begun by a statement."""

    def __init__(self, path: str, lock_wait_s: float) -> None:
        connector = partial(sqlite3.connect, path, isolation_level=None, timeout=lock_wait_s)
        super().__init__(connector, iter_chunk_size=64)
        self._thread.daemon = True  # as SQLAlchemy does: an exit waits for no statement
        self._unsure = False

    def cursor(self) -> VisitingCursor:  # type: ignore[override]
        return VisitingCursor(self)

    async def visit(
        self,
        run: Callable[[sqlite3.Cursor], object],
        keep: Callable[[sqlite3.Cursor], None] = lambda _cursor: None,
    ) -> None:
        """Run and keep, both in the connection's thread."""

        def act() -> None:
            cursor = self._conn.cursor()
            try:
                run(cursor)
                keep(cursor)
            finally:
                cursor.close()

        await self._visited(act)

    async def commit(self) -> None:
        """Visit the thread only where a transaction is open."""
        await self._end(self._conn.commit)

    async def rollback(self) -> None:
        """As `commit`: SQLAlchemy rolls back whenever a connection is returned."""
        await self._end(self._conn.rollback)

    async def _end(self, act: Callable[[], None]) -> None:
        if self._unsure or self._conn.in_transaction:
            await self._visited(act)
            self._unsure = False

    async def _visited(self, act: Callable[[], None]) -> None:
        try:
            await self._execute(act)  # type: ignore[no-untyped-call]
        except asyncio.CancelledError:
            self._unsure = True  # the thread may be at it still
            raise

    def ended(self) -> None:
        """Wait until the thread has ended."""
        self._thread.join()


async def connected(path: str, lock_wait_s: float, pragmas: tuple[str, ...]) -> VisitingConnection:
    """An open connection with its settings made; a failure leaves no thread behind."""
    connection = VisitingConnection(path, lock_wait_s)
    try:
        await connection
        for pragma in pragmas:
            await _set(connection, pragma, asyncio.get_running_loop().time() + lock_wait_s)
    except BaseException:
        await connection.close()
        # Its thread still reports to this loop, which may be closed at once.
        await asyncio.to_thread(connection.ended)
        raise
    return connection


async def _set(connection: VisitingConnection, pragma: str, until: float) -> None:
    while True:
        try:
            return await connection.visit(lambda cursor: cursor.execute(f"PRAGMA {pragma}"))
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode == sqlite3.SQLITE_BUSY
            if not busy or asyncio.get_running_loop().time() > until:
                raise
        # SQLite itself does not wait where two switch a new file to WAL at once.
        await asyncio.sleep(BUSY_PAUSE_S)
