"""Transactions on a database: one connection each, committed when the block is left."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from adapters.sql.agents import SqlAgents
from adapters.sql.conversations import SqlConversations
from adapters.sql.core_only import AsyncConnection, AsyncEngine
from adapters.sql.decisions import SqlDecisions
from adapters.sql.dialect import Engines
from adapters.sql.keys import SqlKeys
from adapters.sql.queue import SqlQueue
from adapters.sql.retention import SqlRetention
from adapters.sql.schedules import SqlSchedules
from adapters.sql.servers import SqlServers
from adapters.sql.single import Single
from adapters.sql.statements import Statements, translated
from adapters.sql.tasks import SqlTasks
from adapters.sql.workers import SqlWorkers
from domain.ports.storage import StorageUnavailable


class SqlTransaction:
    """All stores over one connection."""

    def __init__(self, statements: Statements) -> None:
        self.agents = SqlAgents(statements)
        self.servers = SqlServers(statements)
        self.conversations = SqlConversations(statements)
        self.tasks = SqlTasks(statements)
        self.queue = SqlQueue(statements)
        self.retention = SqlRetention(statements)
        self.decisions = SqlDecisions(statements)
        self.keys = SqlKeys(statements)
        self.schedules = SqlSchedules(statements)
        self.workers = SqlWorkers(statements)


class SqlTransactions:
    """Where transactions on one database begin."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[SqlTransaction]:
        async with self._opened(self._engines.writer) as connection:
            statements = Statements(connection, self._engines)
            yield SqlTransaction(statements)
            await self._commit(connection, statements)

    @asynccontextmanager
    async def single(self) -> AsyncIterator[SqlTransaction]:
        async with AsyncExitStack() as stack:

            async def opened(*, transaction: bool) -> AsyncConnection:
                await stack.aclose()
                engine = self._engines.writer if transaction else self._engines.autocommit
                return await stack.enter_async_context(self._opened(engine))

            statements = Single(opened, self._engines)
            yield SqlTransaction(statements)
            if statements.connection is not None and statements.in_transaction:
                await self._commit(statements.connection, statements)

    async def _commit(self, connection: AsyncConnection, statements: Statements) -> None:
        if statements.broken:
            raise StorageUnavailable("The transaction failed before its end: nothing is kept.")
        with translated(self._engines):
            await connection.commit()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[SqlTransaction]:
        async with self._opened(self._engines.reader) as connection:
            yield SqlTransaction(Statements(connection, self._engines))

    @asynccontextmanager
    async def _opened(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        """A connection, rolled back at the end unless it was committed.

        Its transaction begins with the first statement.
        """
        connection = engine.connect()
        with translated(self._engines):
            await connection.start()
        try:
            yield connection
        except BaseException:
            # What went wrong first says more than that the way back is gone too.
            with suppress(StorageUnavailable), translated(self._engines):
                await connection.__aexit__(None, None, None)
            raise
        with translated(self._engines):
            await connection.__aexit__(None, None, None)
