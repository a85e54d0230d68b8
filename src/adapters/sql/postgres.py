"""What is particular to PostgreSQL: its pool, its locks, the words of its clock and its faults."""

from contextlib import AbstractAsyncContextManager
from typing import Any

from sqlalchemy import URL, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from adapters.sql.core_only import AsyncConnection, create_async_engine
from adapters.sql.dialect import FAULTS, OURS, After, Engines, Now

POOL = 8
# Transactions here last milliseconds: more connections would only wait on each other.
STARTERS_LOCK = 0x73757461
# Any number will do as long as every version of this system takes the same ("suta").


@compiles(Now, "postgresql")
def _(*_: Any, **_options: Any) -> str:
    return "statement_timestamp()"


@compiles(After, "postgresql")
def _(element: After, compiler: SQLCompiler, **options: Any) -> str:
    distance = compiler.process(element.clauses, **options)
    return f"(statement_timestamp() + make_interval(secs => {distance}))"


class Postgres:
    """The dialect of a PostgreSQL server."""

    faults = FAULTS

    def attempt(self, connection: AsyncConnection) -> AbstractAsyncContextManager[object]:
        return connection.begin_nested()  # a broken constraint ends all but a savepoint

    async def lock_starters(self, connection: AsyncConnection) -> None:
        await connection.execute(text(f"SELECT pg_advisory_xact_lock({STARTERS_LOCK})"))

    def violated(self, error: DBAPIError) -> str:
        return str(getattr(error.orig.__cause__, "constraint_name", "")) if error.orig else ""

    def fault(self, error: BaseException) -> str | None:
        if isinstance(error, OURS):
            return None
        orig = error.orig if isinstance(error, DBAPIError) else error
        return f"did not answer ({type(orig).__name__})"


def postgres_engines(url: URL) -> Engines:
    """One pool for all."""
    engine = create_async_engine(url, pool_size=POOL, max_overflow=0, pool_pre_ping=True)
    return Engines(
        dialect=Postgres(),
        writer=engine,
        reader=engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        ),
        place=f"the database {url.database} at {url.host}",
    )
