"""A worker's process: claims and ends tasks until there are none, and prints their ids."""

import asyncio
import sys
from datetime import timedelta

from adapters.sql.engine import open_database
from domain.model.tasks import Hold, Outcome, Task, TaskStatus, WorkerId

DONE = Outcome(status=TaskStatus.SUCCEEDED)


async def main(url: str, worker: WorkerId) -> None:
    database = open_database(url)

    async def claim() -> tuple[Task, ...]:
        async with database.transactions.begin() as transaction:
            return await transaction.queue.claim(worker, timedelta(minutes=1), 2)

    claimed = await claim()  # so that each has a share, however the race goes
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    while claimed:
        for task in claimed:
            hold = Hold(task_id=task.task_id, attempt=task.attempt)
            async with database.transactions.begin() as transaction:
                await transaction.queue.finish(hold, DONE)
            print(task.task_id)
        claimed = await claim()
    await database.dispose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], WorkerId(sys.argv[2])))
