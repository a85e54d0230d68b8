"""Statements run on one connection, their faults told in the domain's words."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from sqlalchemy import Executable, Row
from sqlalchemy.exc import (
    DataError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
)

from adapters.sql.core_only import AsyncConnection
from adapters.sql.dialect import FAULTS, attempt, fault, violated
from domain.errors import Conflict
from domain.ports.storage import StorageUnavailable

RETRY_AFTER = timedelta(seconds=1)
# A lock or a restart is over within seconds, and a repeat costs one statement.
OURS = (IntegrityError, DataError, NotSupportedError, ProgrammingError)
# A statement that is wrong in itself is a programming error: it is not the store's failure.

Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Raise StorageUnavailable for what the driver says of a store that cannot serve."""
    try:
        yield
    except OURS:
        raise
    except FAULTS as error:
        message = f"{place[:1].upper()}{place[1:]} {fault(error)}."
        raise StorageUnavailable(message, retry_after=RETRY_AFTER) from error


class Statements:
    """One transaction's connection.

    `broken` is true once the store failed in it: SQLite may have rolled back by itself by then,
    and what follows would be kept without what came before.
    """

    def __init__(self, connection: AsyncConnection, place: str) -> None:
        self._connection = connection
        self._place = place
        self.broken = False

    async def rows(
        self,
        statement: Executable,
        parameters: Parameters | None = None,
        conflicts: Mapping[str, Conflict] | None = None,
    ) -> Sequence[Row[Any]]:
        """All rows that a statement gives; a broken constraint raises its conflict by name."""
        try:
            with translated(self._place):
                if not conflicts:
                    return await self._run(statement, parameters)
                async with attempt(self._connection):
                    return await self._run(statement, parameters)
        except IntegrityError as error:
            conflict = (conflicts or {}).get(violated(error))
            if conflict is None:
                raise
            raise conflict from error
        except StorageUnavailable:
            self.broken = True
            raise

    async def _run(
        self, statement: Executable, parameters: Parameters | None
    ) -> Sequence[Row[Any]]:
        result = await self._connection.execute(statement, parameters)
        return result.all() if result.returns_rows else ()

    async def first(
        self,
        statement: Executable,
        parameters: Parameters | None = None,
        conflicts: Mapping[str, Conflict] | None = None,
    ) -> Row[Any] | None:
        """The only row, or None."""
        rows = await self.rows(statement, parameters, conflicts)
        return rows[0] if rows else None
