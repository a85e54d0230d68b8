"""What time does to tasks that no worker holds: deadlines pass, and what has ended grows old."""

from datetime import timedelta

from domain.ports.signals import Signals
from domain.ports.storage import Transactions
from domain.tasks import topics

BATCH = 200
# Each batch is a transaction of its own: writers behind it wait for milliseconds.
MOST_BATCHES = 50
# What is more than that is left for the next time.


class Retention:
    """Ends what is overdue, and removes what is old; many processes may do so at once."""

    def __init__(self, transactions: Transactions, signals: Signals, keep: timedelta) -> None:
        self._transactions = transactions
        self._signals = signals
        self._keep = keep

    async def end_overdue(self) -> int:
        """Fail the tasks whose deadline has passed; return how many."""
        ended = 0
        for _ in range(MOST_BATCHES):
            async with self._transactions.begin() as transaction:
                tasks = await transaction.retention.end_overdue(BATCH)
            for task in tasks:
                self._signals.publish(topics.of_task(task.task_id), {})
            ended += len(tasks)
            if len(tasks) < BATCH:
                break
        return ended

    async def purge(self) -> int:
        """Remove the tasks that ended long ago, with their events; return how many."""
        removed = 0
        for _ in range(MOST_BATCHES):
            async with self._transactions.begin() as transaction:
                batch = await transaction.retention.purge(self._keep, BATCH)
            removed += batch
            if batch < BATCH:
                break
        return removed
