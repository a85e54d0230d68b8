"""Statements run on one connection, their faults told in the domain's words."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from sqlalchemy import Executable, Row
from sqlalchemy.exc import IntegrityError

from adapters.sql.core_only import AsyncConnection
from adapters.sql.dialect import Dialect, Engines
from domain.errors import Conflict
from domain.ports.storage import StorageUnavailable

RETRY_AFTER = timedelta(seconds=1)
# A lock or a restart is over within seconds, and a repeat costs one statement.

Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]


@contextmanager
def translated(engines: Engines) -> Iterator[None]:
    """Raise StorageUnavailable for what the driver says of a store that cannot serve."""
    try:
        yield
    except engines.dialect.faults as error:
        fault = engines.dialect.fault(error)
        if fault is None:
            raise
        raise unavailable(engines, fault) from error


def unavailable(engines: Engines, fault: str) -> StorageUnavailable:
    """The failure of a store with that fault."""
    message = f"{engines.place[:1].upper()}{engines.place[1:]} {fault}."
    return StorageUnavailable(message, retry_after=RETRY_AFTER)


class Statements:
    """One transaction's connection, None before there is one.

    `broken` is true once the store failed in it: SQLite may have rolled back by itself by then,
    and what follows would be kept without what came before.
    """

    def __init__(self, connection: AsyncConnection | None, engines: Engines) -> None:
        self.connection = connection
        self._engines = engines
        self.broken = False
        self.in_transaction = connection is not None

    async def rows(
        self,
        statement: Executable,
        parameters: Parameters | None = None,
        conflicts: Mapping[str, Conflict] | None = None,
        *,
        alone: bool = False,
    ) -> Sequence[Row[Any]]:
        """All rows that a statement gives; a broken constraint raises its conflict by name.

        `alone` says that the call makes no other statement, or none where this one finds nothing.
        """
        try:
            with translated(self._engines):
                connection = await self._opened(alone=alone)
                if not (conflicts and self.in_transaction):
                    return await _run(connection, statement, parameters)
                async with self._engines.dialect.attempt(connection):
                    return await _run(connection, statement, parameters)
        except IntegrityError as error:
            conflict = (conflicts or {}).get(self._engines.dialect.violated(error))
            if conflict is None:
                raise
            raise conflict from error
        except StorageUnavailable:
            self.broken = True
            raise

    @property
    def dialect(self) -> Dialect:
        """What is particular to the database."""
        return self._engines.dialect

    async def lock_claims(self) -> None:
        """See Dialect."""
        try:
            with translated(self._engines):
                await self._engines.dialect.lock_claims(await self._opened(alone=False))
        except StorageUnavailable:
            self.broken = True
            raise

    async def _opened(self, *, alone: bool) -> AsyncConnection:
        """The connection for the next statement."""
        del alone
        assert self.connection is not None  # noqa: S101 - only Single has none yet
        return self.connection

    async def first(
        self,
        statement: Executable,
        parameters: Parameters | None = None,
        *,
        alone: bool = False,
    ) -> Row[Any] | None:
        """The only row, or None."""
        rows = await self.rows(statement, parameters, alone=alone)
        return rows[0] if rows else None


async def _run(
    connection: AsyncConnection, statement: Executable, parameters: Parameters | None
) -> Sequence[Row[Any]]:
    result = await connection.execute(statement, parameters)
    return result.all() if result.returns_rows else ()
