"""Workers in processes of their own, many at once: what they are given is done in an instant.

Run `python -P racers.py NUMBER DATABASE_URL REDIS_URL JOURNAL`. Worker, carrier, recorder and
store are the system's own; in place of a tool's call the task's id is put at the end of the
journal. All are forks of one process, so that twenty cost one start. SIGTERM ends them.
"""

import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack
from datetime import timedelta

from adapters.inmemory.signals import MemorySignals
from adapters.redis.link import RedisLink
from adapters.redis.signals import RedisSignals
from adapters.sql.engine import open_database
from adapters.sql.pool import PostgresLimits
from adapters.system import SystemChance
from domain.model.tasks import Outcome, Task, TaskStatus, ToolPayload, WorkerId
from domain.ports.signals import Signals
from domain.tasks.carrier import Carrier, WorkerLimits
from domain.tasks.recorder import Recorder
from domain.tasks.runs import Finish
from domain.tasks.worker import Worker

DONE = Finish(outcome=Outcome(status=TaskStatus.SUCCEEDED, result={}))
LIMITS = WorkerLimits(concurrency=16, lease=timedelta(minutes=2))
# On two cores twenty workers wait long for one another; none of them is to be thought dead.


async def signals_of(url: str, stack: AsyncExitStack) -> Signals:
    """Those over Redis, where there is one."""
    alone = MemorySignals()
    if not url:
        return alone
    chance = SystemChance()
    link = RedisLink(url, chance)
    stack.push_async_callback(link.aclose)
    await link.start(timedelta(seconds=30))
    signals = RedisSignals(link, alone, chance.new_id())
    stack.push_async_callback(signals.aclose)
    signals.start()
    return signals


async def race(number: int, url: str, redis_url: str, journal: int) -> None:
    """Work until SIGTERM."""

    async def note(task: Task, _recorder: Recorder) -> Finish:
        os.write(journal, f"{task.task_id} {number}\n".encode())
        return DONE

    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    async with AsyncExitStack() as stack:
        signals = await signals_of(redis_url, stack)
        database = open_database(
            url, PostgresLimits(pool_size=2, pool_timeout=timedelta(minutes=1))
        )
        stack.push_async_callback(database.dispose)
        carrier = Carrier(
            database.transactions, signals, {ToolPayload: note}, SystemChance(), LIMITS
        )
        name = WorkerId(f"racer-{number}")
        worker = Worker(name, database.transactions, signals, carrier, LIMITS)
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
