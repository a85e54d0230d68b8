"""What is particular to PostgreSQL: its clock, its locks, and the words of its faults."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from sqlalchemy import JSON, FromClause, Text, bindparam, cast, column, func, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

from adapters.sql.core_only import AsyncConnection
from adapters.sql.dialect import FAULTS, After, Greatest, Now

STARTERS_LOCK, CLAIMS_LOCK = 0x73757461, 0x73757462
# Any numbers will do as long as every version of this system takes the same ("suta", "sutb").

_WRONG = ("0A", "22", "23", "42")
# Classes of SQLSTATE for a statement that is wrong in itself: a programming error, no fault.
_WORDS = {
    "25006": "cannot be written",
    "28": "refuses the user or the password",
    "3D": "does not exist",
    "40": "let another transaction go first",
    "42P01": "has not the tables that this version needs",
    "53100": "has no room left on its disk",
    "53300": "has no connection left for this system",
    "57014": "ended a statement that took too long",
    "57P": "is starting or stopping",
    "25P03": "ended a transaction that did nothing for too long",
}
WRITABLE = text(
    "SELECT NOT pg_is_in_recovery() AND NOT current_setting('default_transaction_read_only')::bool"
)


@compiles(Now, "postgresql")
def _(*_: Any, **_options: Any) -> str:
    return "statement_timestamp()"


@compiles(After, "postgresql")
def _(element: After, compiler: SQLCompiler, **options: Any) -> str:
    distance = compiler.process(element.clauses, **options)
    return f"(statement_timestamp() + make_interval(secs => {distance}))"


@compiles(Greatest, "postgresql")
def _(element: Greatest, compiler: SQLCompiler, **options: Any) -> str:
    return f"greatest({compiler.process(element.clauses, **options)})"


class Postgres:
    """The dialect of a PostgreSQL server."""

    faults = FAULTS
    chains = True

    def attempt(self, connection: AsyncConnection) -> AbstractAsyncContextManager[object]:
        return _savepoint(connection)

    async def lock_starters(self, connection: AsyncConnection) -> None:
        await connection.execute(text(f"SELECT pg_advisory_xact_lock({STARTERS_LOCK})"))

    async def obstacle(self, connection: AsyncConnection) -> str:
        writable = (await connection.execute(WRITABLE)).scalar()
        return "" if writable else _WORDS["25006"]

    async def lock_claims(self, connection: AsyncConnection) -> None:
        await connection.execute(text(f"SELECT pg_advisory_xact_lock({CLAIMS_LOCK})"))

    @staticmethod
    def recordset(parameter: str, columns: Mapping[str, type[TypeEngine[Any]]]) -> FromClause:
        array = cast(bindparam(parameter, type_=Text()), JSON())
        typed = (column(name, kind()) for name, kind in columns.items())
        table = func.json_to_recordset(array).table_valued(*typed)
        return table.render_derived(name=parameter, with_types=True)

    def violated(self, error: DBAPIError) -> str:
        return str(getattr(error.driver_exception, "constraint_name", None) or "")

    def fault(self, error: BaseException) -> str | None:
        if isinstance(error, PoolTimeoutError):
            return "has all connections of this process in use"
        if not isinstance(error, DBAPIError):
            return _unreached(error)
        if type(error.orig).__name__ == "InvalidCachedStatementError":
            return "has got other tables meanwhile"
        driver = error.driver_exception
        if isinstance(driver, ValueError):  # asyncpg's own, of an argument that no type takes
            return None
        state = str(getattr(driver, "sqlstate", None) or "")
        for code, words in _WORDS.items():
            if state.startswith(code):
                return words
        return None if state.startswith(_WRONG) else "closed the connection"


@asynccontextmanager
async def _savepoint(connection: AsyncConnection) -> AsyncIterator[None]:
    """A broken constraint takes back all since the last savepoint, the next one hides this one.

    Written out: SQLAlchemy's own is compiled each time, and released with one more round trip.
    """
    await connection.exec_driver_sql("SAVEPOINT attempt")
    try:
        yield
    except IntegrityError:
        await connection.exec_driver_sql("ROLLBACK TO SAVEPOINT attempt")
        raise


def _unreached(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "gave no answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "refuses connections"
    return f"cannot be reached ({type(error).__name__})"
