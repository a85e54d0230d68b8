"""A database, opened by its URL."""

from adapters.sql.inspector import SqlInspector
from adapters.sql.opening import engines
from adapters.sql.pool import USUAL, PostgresLimits
from adapters.sql.transactions import SqlTransactions


class Database:
    """One database and what is offered on it; connects on first use."""

    def __init__(self, url: str, limits: PostgresLimits) -> None:
        self._engines = engines(url, limits)
        self.transactions = SqlTransactions(self._engines)
        self.inspector = SqlInspector(self._engines)

    async def dispose(self) -> None:
        """Close all connections; none may be in use."""
        await self._engines.dispose()


def open_database(url: str, limits: PostgresLimits = USUAL) -> Database:
    """A database by SQLAlchemy's URL: `sqlite+aiosqlite:///…` or `postgresql+asyncpg://…`.

    The file's folder must exist and the tables be at the head: see `migrate`.
    """
    return Database(url, limits)
