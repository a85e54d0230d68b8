"""The system's own worker and store in a process without the rest: what it claims is soon done.

TaskService, Worker, Carrier, Recorder, signals and store are those of `sutazai work`. Only the run
is not: in place of a tool's call, with the two events that tell of it, stands what a test says.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import msgspec

from adapters.inmemory.signals import MemorySignals
from adapters.llm.offline import OfflineModel
from adapters.redis.link import RedisLink
from adapters.redis.signals import RedisSignals
from adapters.sql.engine import Database, open_database
from adapters.sql.pool import USUAL, PostgresLimits
from adapters.system import SystemChance
from domain.agents import Models
from domain.model.tasks import Outcome, Task, TaskStatus, ToolPayload, WorkerId
from domain.ports.signals import Signals
from domain.tasks.carrier import Carrier, WorkerLimits
from domain.tasks.recorder import Recorder
from domain.tasks.runs import Finish, Run
from domain.tasks.service import TaskService
from domain.tasks.worker import Worker

DONE = Finish(outcome=Outcome(status=TaskStatus.SUCCEEDED, result={}))
REACHED = timedelta(seconds=30)


async def nothing(_task: Task, _recorder: Recorder) -> Finish:
    """The run of a task that asks for nothing."""
    return DONE


class Instant(msgspec.Struct, frozen=True, kw_only=True):
    """An open database and what hints go by."""

    database: Database
    signals: Signals

    def worker(self, name: str, run: Run, limits: WorkerLimits) -> Worker:
        """A worker, not yet started, whose tasks are all carried out by `run`."""
        transactions, signals = self.database.transactions, self.signals
        carrier = Carrier(transactions, signals, {ToolPayload: run}, SystemChance(), limits)
        return Worker(WorkerId(name), transactions, signals, carrier, limits)

    def service(self) -> TaskService:
        """Where tasks are submitted."""
        models = Models(OfflineModel(), {})
        return TaskService(self.database.transactions, self.signals, SystemChance(), models)


@asynccontextmanager
async def instant(
    url: str, redis_url: str, limits: PostgresLimits = USUAL
) -> AsyncIterator[Instant]:
    """Open the database, and Redis where its URL is not empty."""
    async with AsyncExitStack() as stack:
        signals: Signals = MemorySignals()
        if redis_url:
            signals = await _over_redis(redis_url, signals, stack)
        database = open_database(url, limits)
        stack.push_async_callback(database.dispose)
        yield Instant(database=database, signals=signals)


async def _over_redis(url: str, alone: Signals, stack: AsyncExitStack) -> Signals:
    chance = SystemChance()
    link = RedisLink(url, chance)
    stack.push_async_callback(link.aclose)
    await link.start(REACHED)
    signals = RedisSignals(link, alone, chance.new_id())
    stack.push_async_callback(signals.aclose)
    signals.start()
    return signals
