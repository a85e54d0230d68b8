# /// script
# requires-python = ">=3.11"
# dependencies = ["pgqueuer[asyncpg]==1.6.0", "asyncpg==0.32.0", "uvloop==0.23.0"]
# ///
"""PgQueuer on its side of the benchmark of tasks: see `tests.bench.durable` for the words."""

import asyncio
import sys
import time

import asyncpg
import uvloop
from pgqueuer import PgQueuer, Queries
from pgqueuer.db import AsyncpgPoolDriver

KIND = "nothing"
AT_ONCE = 1000


async def install(pool: asyncpg.Pool, _number: int) -> None:
    """Make its tables, with the durability that is its default: all is logged."""
    await Queries(AsyncpgPoolDriver(pool)).install()


async def submit(pool: asyncpg.Pool, number: int) -> None:
    """So many jobs, one after the other; print the seconds that they took."""
    queries = Queries(AsyncpgPoolDriver(pool))
    begun = time.perf_counter()
    for _ in range(number):
        await queries.enqueue(KIND, b"{}")
    print(time.perf_counter() - begun)


async def fill(pool: asyncpg.Pool, number: int) -> None:
    """So many jobs, as fast as it can."""
    queries = Queries(AsyncpgPoolDriver(pool))
    for begin in range(0, number, AT_ONCE):
        count = min(AT_ONCE, number - begin)
        await queries.enqueue([KIND] * count, [b"{}"] * count, [0] * count)


async def work(pool: asyncpg.Pool, batch: int) -> None:
    """Carry jobs out, once told to, until the input ends."""
    app = PgQueuer.from_asyncpg_pool(pool)

    async def nothing(_job: object) -> None:
        pass

    app.entrypoint(KIND)(nothing)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    running = asyncio.ensure_future(app.run(batch_size=batch))
    await asyncio.to_thread(sys.stdin.readline)
    app.shutdown.set()
    await running


async def main() -> None:
    """What the words of the command line ask for."""
    url, verb, number = sys.argv[1:]
    async with asyncpg.create_pool(url, min_size=4, max_size=8) as pool:
        await {"install": install, "submit": submit, "fill": fill, "work": work}[verb](
            pool, int(number)
        )


uvloop.run(main())
