"""The benchmark of tasks: no-op tasks submitted and drained, beside PgQueuer and procrastinate.

All in one run, on one PostgreSQL that keeps what it commits; the systems take turns, round by
round. Every figure is of this run and this machine; what to read are the ratios. Each side is a
program `SIDE URL VERB NUMBER`, a process of its own: `install` its tables, `submit` so many one by
one and print the seconds, `fill` the queue with so many, or `work` with such a concurrency
(PgQueuer: such a batch): it says "ready", begins at a line of its input and ends at its end.

Run as `python -m tests.bench.durable`.
"""

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from statistics import median

import asyncpg
import msgspec
from sqlalchemy import make_url

from tests.real.postgres import new_database, postgres_url
from tests.real.redis import redis_url

ROUNDS = 3
TASKS, SLOW_TASKS = 5000, 1200
# The slow side drains fewer: a rate needs no more of it.
WARM_UP = 500
SUBMITS, TIMED = 400, 30
LOOK_S = 0.02
LONGEST_S = 60.0
RIVALS = Path(__file__).with_name("rivals")
OURS = (sys.executable, "-m", "tests.bench.drainer")


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """A system at one setting; `left` counts the tasks that have not ended."""

    name: str
    program: tuple[str, ...]
    number: int
    setting: str
    left: str
    tasks: int = TASKS


def _rival(script: str) -> tuple[str, ...]:
    """In an environment of its own, with the versions that its first lines name."""
    return ("uv", "run", "--quiet", "--python", sys.executable, "--script", str(RIVALS / script))


def _ours(concurrency: int) -> Side:
    return Side(
        name="sutazai",
        program=OURS,
        number=concurrency,
        setting=f"{concurrency} at once",
        left="SELECT count(*) FROM tasks WHERE status IN ('queued', 'running')",
    )


def _pgqueuer(batch: int) -> Side:
    return Side(
        name="PgQueuer",
        program=_rival("pgqueuer_side.py"),
        number=batch,
        setting=f"batch of {batch}",
        left="SELECT count(*) FROM pgqueuer",
    )


USUAL, WIDE = _ours(16), _ours(64)
# 16 is what `sutazai work` does unless told otherwise.
PGQUEUER, PGQUEUER_WIDE = _pgqueuer(10), _pgqueuer(100)
# 10 is its default; without a bound of its own on how many run at once.
PROCRASTINATE = Side(
    name="procrastinate",
    program=_rival("procrastinate_side.py"),
    number=16,
    setting="16 at once",
    left="SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')",
    tasks=SLOW_TASKS,
)
Count = Callable[[str], Awaitable[int]]
Rates = dict[tuple[str, str, int], list[float]]
# Tasks a second by database, side and number of workers.


def _told(side: Side, url: str, verb: str, number: int, *more: str) -> str:
    """What the side prints."""
    command = [*side.program, _plain(side, url), verb, str(number), *more]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _plain(side: Side, url: str) -> str:
    return url if side.program == OURS else url.replace("postgresql+asyncpg:", "postgresql:")


@contextmanager
def _workers(
    side: Side, url: str, count: int, redis: str = ""
) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that have connected and wait for the word."""
    command = [*side.program, _plain(side, url), "work", str(side.number)]
    with ExitStack() as stack:
        started = [
            stack.enter_context(
                subprocess.Popen(
                    command + [redis] * bool(redis),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    start_new_session=True,
                )
            )
            for _ in range(count)
        ]
        for process in started:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise RuntimeError(f"{side.name} did not come up")
        yield started


def _say(process: subprocess.Popen[str], word: str = "") -> None:
    assert process.stdin is not None
    process.stdin.write(f"{word}\n")
    process.stdin.flush()


def _end(process: subprocess.Popen[str]) -> list[float]:
    """The seconds to each start, where the side tells any."""
    told, _ = process.communicate(timeout=LONGEST_S)
    return msgspec.json.decode(told, type=list[float]) if told else []


def drained(side: Side, url: str, workers: int) -> float:
    """Tasks a second, from when the first ones have warmed the workers up to the last one's end."""
    with _workers(side, url, workers) as processes:
        for process in processes:
            _say(process)
        rate = asyncio.run(_rate(url, side))
        for process in processes:
            os.killpg(process.pid, signal.SIGKILL)
    return rate


async def _rate(url: str, side: Side) -> float:
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(str(make_url(url).database))) as file:

            async def count(sql: str) -> int:
                return int(file.execute(sql).fetchone()[0])

            return await _rate_by(count, side)
    connection = await asyncpg.connect(url.replace("postgresql+asyncpg:", "postgresql:"))
    try:
        return await _rate_by(connection.fetchval, side)
    finally:
        await connection.close()


async def _rate_by(count: Count, side: Side) -> float:
    limit = time.perf_counter() + LONGEST_S
    begun, first = 0.0, 0
    while left := await count(side.left):
        now = time.perf_counter()
        if not begun and left <= side.tasks:
            begun, first = now, left
        if now > limit:
            raise RuntimeError(f"{side.name} left {left} tasks after {LONGEST_S} s")
        await asyncio.sleep(LOOK_S)
    return first / (time.perf_counter() - begun)


@contextmanager
def _database(server: str, folder: Path) -> Iterator[str]:
    """An empty one: on the server, or where none is named a file."""
    if server:
        with new_database(server) as url:
            yield url
        return
    with tempfile.TemporaryDirectory(dir=folder) as name:
        yield f"sqlite+aiosqlite:///{name}/sutazai.db"


@contextmanager
def _copy(server: str, folder: Path, full: str) -> Iterator[str]:
    """One that holds what `full` holds."""
    if server:
        with new_database(server, str(make_url(full).database)) as url:
            yield url
        return
    with _database(server, folder) as url:
        shutil.copyfile(str(make_url(full).database), str(make_url(url).database))
        yield url


def drains(server: str, folder: Path) -> Rates:
    """All sides, by turns; the wide ones with one worker alone."""
    ways = [(side, server) for side in (PGQUEUER, USUAL, PROCRASTINATE)]
    ways += [(USUAL, ""), (PGQUEUER_WIDE, server), (WIDE, server)]
    rates: Rates = {}
    with ExitStack() as stack:
        full: dict[tuple[str, str], str] = {}
        for side, where in ways:
            if (side.name, where) not in full:
                url = stack.enter_context(_database(where, folder))
                full[side.name, where] = url
                _told(side, url, "install", 0)
                _told(side, url, "fill", WARM_UP + side.tasks)
        for _ in range(ROUNDS):
            for workers in (1, 2):
                for side, where in ways[: -2 if workers > 1 else None]:
                    key = (_kind(where), f"{side.name}, {side.setting}", workers)
                    with _copy(where, folder, full[side.name, where]) as url:
                        rates.setdefault(key, []).append(drained(side, url, workers))
    return rates


def _kind(server: str) -> str:
    return "PostgreSQL" if server else "SQLite"


def _tell_rates(rates: Rates) -> None:
    def ratio(workers: int, rate: float, side: Side) -> float:
        other = rates["PostgreSQL", f"{side.name}, {side.setting}", workers]
        return rate / median(other)

    print(f"{'drained':12}{'':28}{'workers':>8}{'tasks/s':>9}{'PgQueuer':>10}{'procrast.':>10}")
    for (database, side, workers), of_side in rates.items():
        rate = median(of_side)
        beside = ratio(workers, rate, PGQUEUER), ratio(workers, rate, PROCRASTINATE)
        print(f"{database:12}{side:28}{workers:8}{rate:9.0f}{beside[0]:10.2f}{beside[1]:10.2f}")


def submits(server: str, folder: Path) -> None:
    """Print how fast one process submits one task after the other."""
    rates: dict[str, list[float]] = {}
    with ExitStack() as stack:
        sides = [(side, server) for side in (USUAL, PGQUEUER, PROCRASTINATE)] + [(USUAL, "")]
        urls = [stack.enter_context(_database(where, folder)) for _, where in sides]
        for (side, _), url in zip(sides, urls, strict=True):
            _told(side, url, "install", 0)
        for _ in range(ROUNDS):
            for (side, where), url in zip(sides, urls, strict=True):
                name = f"{_kind(where):12}{side.name}"
                seconds = float(_told(side, url, "submit", SUBMITS))
                rates.setdefault(name, []).append(SUBMITS / seconds)
    base = median(rates[f"{'PostgreSQL':12}{PROCRASTINATE.name}"])
    print(f"{'submitted one by one':48}{'tasks/s':>9}{'':10}{'procrast.':>10}")
    for name, of_side in rates.items():
        rate = median(of_side)
        print(f"{name:48}{rate:9.0f}{'':10}{rate / base:10.2f}")


def starts(server: str, redis: str, folder: Path) -> None:
    """Print how long after its submit a task's run begins, in an idle system.

    The first one apart: for it the new processes connect, and compile their statements.
    """
    print(f"{'from submit to start':48}{'median ms':>10}{'longest ms':>11}{'first ms':>9}")
    for where in (server, ""):
        with _database(where, folder) as url:
            _told(USUAL, url, "install", 0)
            for hints, way in ((None, "same process"), (redis, "Redis"), ("", "polls each second")):
                told_ms = [1000 * second for second in _starts(url, hints)]
                if len(told_ms) != TIMED:
                    raise RuntimeError(f"{len(told_ms)} of {TIMED} tasks were started")
                first, *rest = told_ms
                figures = f"{median(rest):10.1f}{max(rest):11.1f}{first:9.1f}"
                print(f"{_kind(where):12}{way:36}{figures}")


def _starts(url: str, redis: str | None) -> list[float]:
    """In the submitting process where `redis` is None, else in one that it may hint to."""
    with _workers(USUAL, url, 1, redis or "") as (worker,):
        if redis is None:
            _say(worker, str(TIMED))
        else:
            _say(worker)
            _told(USUAL, url, "timed", TIMED, *[redis] * bool(redis))
        return _end(worker)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    with tempfile.TemporaryDirectory() as name, postgres_url() as server, redis_url() as redis:
        folder = Path(name)
        submits(server, folder)
        _tell_rates(drains(server, folder))
        starts(server, redis, folder)


if __name__ == "__main__":
    main()
