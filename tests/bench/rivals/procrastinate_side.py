# /// script
# requires-python = ">=3.11"
# dependencies = ["procrastinate==3.10.0", "psycopg[binary,pool]==3.3.9", "uvloop==0.23.0"]
# ///
"""procrastinate on its side of the benchmark of tasks: see `tests.bench.durable` for the words."""

import asyncio
import logging
import sys
import time

import uvloop
from procrastinate import App, PsycopgConnector

logging.getLogger("procrastinate").setLevel(logging.ERROR)
# It warns of an app in the program's main module, where another process could not import it.
app = App(connector=PsycopgConnector(conninfo=sys.argv[1], min_size=4, max_size=8))


async def _nothing() -> None:
    pass


nothing = app.task(_nothing, name="nothing")


async def install(_number: int) -> None:
    """Make its tables."""
    await app.schema_manager.apply_schema_async()


async def submit(number: int) -> None:
    """So many jobs, one after the other; print the seconds that they took."""
    begun = time.perf_counter()
    for _ in range(number):
        await nothing.defer_async()
    print(time.perf_counter() - begun)


async def fill(number: int) -> None:
    """So many jobs, as fast as it can."""
    await nothing.batch_defer_async(*[{}] * number)


async def work(concurrency: int) -> None:
    """Carry jobs out, once told to, until the input ends."""
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    running = asyncio.ensure_future(
        app.run_worker_async(concurrency=concurrency, install_signal_handlers=False)
    )
    await asyncio.to_thread(sys.stdin.readline)
    running.cancel()
    await asyncio.wait({running})


async def main() -> None:
    """What the words of the command line ask for."""
    _, verb, number = sys.argv[1:]
    async with app.open_async():
        await {"install": install, "submit": submit, "fill": fill, "work": work}[verb](int(number))


uvloop.run(main())
