"""One call's statements, without a transaction where it makes but one."""

from typing import Protocol

from adapters.sql.core_only import AsyncConnection
from adapters.sql.dialect import Engines
from adapters.sql.statements import Statements


class Opening(Protocol):
    """Closes what it opened before, if anything, and opens a connection."""

    async def __call__(self, *, transaction: bool) -> AsyncConnection:
        """In a transaction, or such that each statement is one. Raises StorageUnavailable."""
        ...


class Single(Statements):
    """Keeps a statement at once that is alone in its call, and others in a transaction."""

    def __init__(self, opening: Opening, engines: Engines) -> None:
        super().__init__(None, engines)
        self._opening = opening

    async def _opened(self, *, alone: bool) -> AsyncConnection:
        if self.connection is None or not (alone or self.in_transaction):
            self.connection = await self._opening(transaction=not alone)
            self.in_transaction = not alone
        return self.connection
