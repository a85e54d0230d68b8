"""Today's system and that of an older commit, loaded by turns: what a call costs beside before.

Calls a second say it where the machine is ours alone; where it is not, the processor time that
the system takes for a call says it still.
"""

import math
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles

import msgspec
import uvloop

from tests.bench.load import post_load
from tests.bench.systems import CALL, CONNECTIONS, sutazai
from tests.bounds import spent_s

ROOT = Path(__file__).parents[2]
LIVES = 4
# Both are started anew so often: where a process lies in memory makes it faster or slower.
PAIRS = 12
# Rounds of both in each life, short and many: on a shared machine the noise comes in bursts.
SECONDS = 1.0


@contextmanager
def built(revision: str, folder: Path) -> Iterator[Path]:
    """The `sutazai` of another commit, in an environment of its own from that commit's lock."""
    checkout, environment = folder / "checkout", folder / "environment"
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(checkout), revision], check=True)
    try:
        own = {"UV_PROJECT_ENVIRONMENT": str(environment)}
        command = ["uv", "sync", "--locked", "--quiet", "--no-default-groups"]
        subprocess.run(command, cwd=checkout, env=_environ() | own, check=True)
        yield environment / "bin" / "sutazai"
    finally:
        subprocess.run([*git, "remove", "--force", str(checkout)], check=True)


def _environ() -> dict[str, str]:
    """Without the environment that this runs in: `uv` would warn of it."""
    return {name: text for name, text in os.environ.items() if name != "VIRTUAL_ENV"}


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """What one load of one system came to."""

    calls_per_s: float
    work_s: float
    """Processor time of the system's own process for a call, whoever else the machine serves."""


Pairs = dict[int, list[tuple[Round, Round]]]
# By connections: the system before, and that of today.


def compare(revision: str, folder: Path) -> None:
    """Print what today's system does beside that of `revision`."""
    rounds: Pairs = {count: [] for count in CONNECTIONS}
    with built(revision, folder) as before:
        for life in range(1, LIVES + 1):
            _one_life(folder / f"life-{life}", before, rounds)
            print(f"life {life} of {LIVES}", flush=True)
    print(f"{'':16}{'conns':>6}{'before':>10}{'now':>10}{'ratio':>8}{'+-':>8}")
    for connections, pairs in rounds.items():
        rates = [(before.calls_per_s, now.calls_per_s) for before, now in pairs]
        _tell("calls/s", connections, rates)
        _tell(
            "us of work", connections, [(one.work_s * 1e6, two.work_s * 1e6) for one, two in pairs]
        )


def _tell(what: str, connections: int, pairs: list[tuple[float, float]]) -> None:
    ratios = [now / before for before, now in pairs]
    low, middle, high = quantiles(ratios, n=4)
    # Twice the standard error of a median, the spread taken from the quarters.
    error = 2 * 1.25 * (high - low) / 1.35 / math.sqrt(len(ratios))
    before, now = (median(column) for column in zip(*pairs, strict=True))
    print(f"{what:16}{connections:6}{before:10.0f}{now:10.0f}{middle:8.3f}{error:8.3f}")


def _one_life(folder: Path, program: Path, rounds: Pairs) -> None:
    homes = folder / "before", folder / "now"
    for home in homes:
        home.mkdir(parents=True)
    with (
        sutazai(homes[0], program) as (before, before_pid, _),
        sutazai(homes[1]) as (now, now_pid, _),
    ):
        for number in range(PAIRS):
            for connections, pairs in rounds.items():
                # Who goes first changes, so that a machine that slows down treats both alike.
                one, other = (before, before_pid), (now, now_pid)
                if number % 2:
                    pair = _round(*one, connections), _round(*other, connections)
                else:
                    pair = (_round(*other, connections), _round(*one, connections))[::-1]
                if number:  # the first warms up
                    pairs.append(pair)


def _round(port: int, pid: int, connections: int) -> Round:
    spent = spent_s(pid)
    load = uvloop.run(post_load(port, CALL, connections, SECONDS))
    return Round(
        calls_per_s=load.calls_per_s, work_s=(spent_s(pid) - spent) / load.calls_per_s / SECONDS
    )
