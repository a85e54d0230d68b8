"""The register of workers: each says that it lives, and callers see which there are."""

from datetime import timedelta

from domain.model.callers import Caller, Scope
from domain.model.workers import WorkerRecord, WorkerSign
from domain.ports.storage import Transactions

SIGN_EVERY = timedelta(seconds=5)
# One small write a worker; leases are kept apart from this, every second.
LOST_AFTER = timedelta(seconds=15)
# Two signs may come late.
KEPT = timedelta(days=1)
# Long enough for a person to see what was lost over night.


class Register:
    """Keeps one worker's place in the register."""

    def __init__(self, transactions: Transactions, sign: WorkerSign) -> None:
        self._transactions = transactions
        self._sign = sign

    async def enter(self) -> None:
        """Its life begins."""
        async with self._transactions.begin() as transaction:
            await transaction.workers.begin(self._sign)

    async def sign(self) -> None:
        """It lives; one that was taken for lost and forgotten comes back as a new one."""
        async with self._transactions.single() as transaction:
            known = await transaction.workers.seen(self._sign.worker_id)
        if not known:
            await self.enter()

    async def leave(self) -> None:
        """It ends as it should."""
        async with self._transactions.begin() as transaction:
            await transaction.workers.leave(self._sign.worker_id)

    async def purge(self) -> int:
        """Forget workers of whatever process that were lost long ago; return how many."""
        async with self._transactions.begin() as transaction:
            return await transaction.workers.purge(KEPT)


class WorkerService:
    """Workers as callers see them."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def list(self, caller: Caller) -> tuple[WorkerRecord, ...]:
        """All of them by id, those that were lost within the last day too."""
        caller.require(Scope.READ)
        async with self._transactions.read() as transaction:
            return await transaction.workers.list(LOST_AFTER)
