"""This system on its side of the benchmark of tasks: see `tests.bench.durable` for the words.

Run as `python -m tests.bench.drainer URL VERB NUMBER [REDIS_URL]`. Service, worker and store are
those of `sutazai`; only the run of a task does nothing.
"""

import asyncio
import logging
import sys
import time
from collections.abc import Awaitable, Callable

import msgspec
import uvloop

from adapters.sql import migrate
from domain.model.callers import LOCAL
from domain.model.tasks import Task, ToolPayload
from domain.tasks.carrier import WorkerLimits
from domain.tasks.recorder import Recorder
from domain.tasks.runs import Finish
from domain.tasks.service import SubmitTask
from tests.instant import DONE, Instant, instant

AT_ONCE = 32
# Submits that are under way together while a queue is filled.
APART_S = 0.0707
# Between submits whose start is timed: no part of a poll interval, so that they meet all of it.


def a_task(**arguments: float) -> SubmitTask:
    """A task that asks for nothing."""
    payload = ToolPayload(server="bench", tool="nothing", arguments=arguments, idempotent=True)
    return SubmitTask(payload=payload)


async def submit(parts: Instant, number: int) -> None:
    """So many tasks, one after the other; print the seconds that they took."""
    service = parts.service()
    begun = time.perf_counter()
    for _ in range(number):
        await service.submit(LOCAL, a_task())
    print(time.perf_counter() - begun)


async def fill(parts: Instant, number: int) -> None:
    """So many tasks, as fast as single submits of one process go."""
    service, left = parts.service(), iter(range(number))

    async def some() -> None:
        for _ in left:
            await service.submit(LOCAL, a_task())

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))


async def timed(parts: Instant, number: int) -> None:
    """So many tasks, a moment between them, that say when they were submitted.

    Returns when a worker has had the time to start the last of them too.
    """
    service = parts.service()
    for _ in range(number):
        await asyncio.sleep(APART_S)
        await service.submit(LOCAL, a_task(at=time.monotonic()))
    await asyncio.sleep(2 * WorkerLimits().poll.total_seconds())


async def work(parts: Instant, concurrency: int) -> None:
    """Carry tasks out, once told to, until the input ends; then print the seconds to each start.

    Those of tasks that say when they were submitted, as a JSON array.
    """
    starts: list[float] = []

    async def nothing(task: Task, _recorder: Recorder) -> Finish:
        assert isinstance(task.payload, ToolPayload)
        if at := task.payload.arguments.get("at"):
            starts.append(time.monotonic() - at)
        return DONE

    limits = WorkerLimits(concurrency=concurrency)
    worker = parts.worker(f"bench-{time.monotonic_ns()}", nothing, limits)
    print("ready", flush=True)
    submits = await asyncio.to_thread(sys.stdin.readline)
    await worker.start()
    if submits.strip():
        await timed(parts, int(submits))  # of this very process
    await asyncio.to_thread(sys.stdin.readline)
    await worker.stop(limits.lease)
    print(msgspec.json.encode(starts).decode())


VERBS: dict[str, Callable[[Instant, int], Awaitable[None]]] = {
    "submit": submit,
    "fill": fill,
    "timed": timed,
    "work": work,
}


async def main(url: str, verb: str, number: int, redis_url: str) -> None:
    """What the words of the command line ask for."""
    if verb == "install":
        await migrate.upgrade(url)
        return
    async with instant(url, redis_url) as parts:
        await VERBS[verb](parts, number)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    uvloop.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), *sys.argv[4:5] or [""]))
