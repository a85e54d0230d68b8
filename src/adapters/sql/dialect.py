"""What statements ask of a database beyond SQL, whichever it is; each has a file of its own."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any, Protocol

import msgspec
from sqlalchemy import Float, FromClause, bindparam
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

from adapters.sql.core_only import AsyncConnection, AsyncEngine
from adapters.sql.tables import Utc


class Now(FunctionElement[Any]):
    """The database's clock, the same all through a statement; milliseconds on SQLite."""

    type = Utc()
    inherit_cache = True


class After(FunctionElement[Any]):
    """Now and so many seconds; NULL for NULL."""

    type = Utc()
    inherit_cache = True


class Greatest(FunctionElement[Any]):
    """The greatest of values that are not NULL."""

    inherit_cache = True


def after(parameter: str) -> After:
    """The time that lies the bound `parameter`, in seconds, ahead."""
    return After(bindparam(parameter, type_=Float()))


def seconds(duration: timedelta | None) -> float | None:
    """A duration as a parameter of `after`."""
    return None if duration is None else duration.total_seconds()


FAULTS: tuple[type[Exception], ...] = (DBAPIError, PoolTimeoutError, OSError)
# What drivers raise, wrapped or bare: asyncpg's refused connections are OSErrors.


class Dialect(Protocol):
    """One kind of database; `faults` is all that its driver raises.

    Where it `chains`, a statement may write what another one within it has returned.
    """

    faults: tuple[type[Exception], ...]
    chains: bool

    def attempt(self, connection: AsyncConnection) -> AbstractAsyncContextManager[object]:
        """Where a statement may break a constraint and the transaction go on all the same."""
        ...

    async def lock_starters(self, connection: AsyncConnection) -> None:
        """Let one starter at a time change tables, until the transaction ends."""
        ...

    async def obstacle(self, connection: AsyncConnection) -> str:
        """What prevents writing, in the words of a fault; empty where nothing is seen to.

        A look that costs no write. Raises what the driver raises.
        """
        ...

    async def lock_claims(self, connection: AsyncConnection) -> None:
        """Let one claim at a time count what runs, until the transaction ends."""
        ...

    @staticmethod
    def recordset(parameter: str, columns: Mapping[str, type[TypeEngine[Any]]]) -> FromClause:
        """The bound JSON array of objects as a table; what an object lacks is NULL."""
        ...

    def violated(self, error: DBAPIError) -> str:
        """The name of the constraint that a statement broke, empty where it cannot be told."""
        ...

    def fault(self, error: BaseException) -> str | None:
        """What is wrong with the database, in words that hold no value and no secret.

        None where the statement is wrong, not the database.
        """
        ...


class Engines(msgspec.Struct, frozen=True, kw_only=True):
    """Where writing and reading transactions come from; `place` may be shown to people.

    `autocommit` writes too, but each statement is kept at once.
    """

    dialect: Dialect
    writer: AsyncEngine
    autocommit: AsyncEngine
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
