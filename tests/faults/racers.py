"""Workers in processes of their own, many at once, whose runs only write down that they ran.

Run `python -m tests.faults.racers NUMBER DATABASE_URL REDIS_URL JOURNAL` at the project's root. A
run puts the task's id at the end of the journal. All are forks of one process, so that twenty cost
one start. SIGTERM ends them.
"""

import asyncio
import os
import signal
import sys
from datetime import timedelta

from adapters.sql.pool import PostgresLimits
from domain.model.tasks import Task
from domain.tasks.carrier import WorkerLimits
from domain.tasks.recorder import Recorder
from domain.tasks.runs import Finish
from tests.instant import DONE, instant

LIMITS = WorkerLimits(concurrency=16, lease=timedelta(minutes=2))
# On two cores twenty workers wait long for one another; none of them is to be thought dead.
POOL = PostgresLimits(pool_size=2, pool_timeout=timedelta(minutes=1))


async def race(number: int, url: str, redis_url: str, journal: int) -> None:
    """Work until SIGTERM."""

    async def note(task: Task, _recorder: Recorder) -> Finish:
        os.write(journal, f"{task.task_id} {number}\n".encode())
        return DONE

    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    async with instant(url, redis_url, POOL) as parts:
        worker = parts.worker(f"racer-{number}", note, LIMITS)
        await worker.start()
        await told.wait()
        await worker.stop(timedelta(seconds=10))


def main(number: int, url: str, redis_url: str, path: str) -> int:
    """Fork, wait for all, and return 0 where each of them ended well."""
    journal = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    children = []
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    for racer in range(number):
        child = os.fork()
        if not child:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            asyncio.run(race(racer, url, redis_url, journal))
            sys.stdout.flush()
            os._exit(0)
        children.append(child)
    signal.sigwait({signal.SIGTERM})
    for child in children:
        os.kill(child, signal.SIGTERM)
    return max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), *sys.argv[2:5]))
