"""Simulate clusters in trouble: `--seeds N` runs from `--start S`, each held to every rule.

A run that breaks one is told with its trace and the command that replays it.
"""

import argparse
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.simulation.climate import BIG, USUAL
from tests.simulation.hunt import FAULTS, MOST_SEEDS, hunt, told
from tests.simulation.world import Report, run

CHUNK = 25
# Seeds for one process at a time; many enough that starting it does not count.


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where every run kept every rule, and was the same twice."""
    parser = argparse.ArgumentParser(prog="nox -s simulate --", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--once", action="store_true", help="not again under another hash seed")
    parser.add_argument("--digests", action="store_true", help="print one digest a seed, no more")
    parser.add_argument("--trace", action="store_true", help="print the trace of every run")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--big", action="store_true", help="100 nodes and 10,000 tasks a run")
    parser.add_argument("--faults", action="store_true", help="which seed finds which fault")
    given = parser.parse_args(arguments)
    seeds = range(given.start, given.start + given.seeds)
    if given.faults:
        return _hunt(given.jobs)
    if given.digests:
        for report in _runs(seeds, given):
            print(report.seed, report.digest, flush=True)
        return 0
    failures, whole = 0, hashlib.sha256()
    for report in _runs(seeds, given):
        whole.update(f"{report.seed} {report.digest}\n".encode())
        failures += bool(report.broken)
        if report.broken or given.trace:
            tell(report, "--big " if given.big else "")
    print(f"{len(seeds)} runs, {failures} of them broke a rule; digest {whole.hexdigest()[:16]}")
    if given.once:
        return int(failures > 0)
    return int(failures > 0) | _again(given, whole.hexdigest())


def tell(report: Report, options: str = "") -> None:
    """The trace, what was broken, and how to see it again."""
    print("\n".join(report.trace))
    for rule in report.broken:
        print(f"seed {report.seed}: {rule}")
    print(f"replay: nox -s simulate -- {options}--once --trace --seeds 1 --start {report.seed}\n")


def _runs(seeds: range, given: argparse.Namespace) -> Iterator[Report]:
    one = partial(run, size=BIG if given.big else USUAL)
    if given.jobs <= 1:
        yield from map(one, seeds)
        return
    with ProcessPoolExecutor(given.jobs) as pool:
        yield from pool.map(one, seeds, chunksize=1 if given.big else CHUNK)


def _hunt(jobs: int) -> int:
    """The table of the deliberate faults; 1 where one was not found."""
    missed = 0
    with ProcessPoolExecutor(jobs) as pool:
        for line, found in pool.map(_hunted, FAULTS):
            missed += not found
            print(line, flush=True)
    print(f"{len(FAULTS)} faults, {missed} of them not found within {MOST_SEEDS} seeds")
    return int(missed > 0)


def _hunted(name: str) -> tuple[str, bool]:
    find = hunt(FAULTS[name])
    return told(find), find.report is not None


def _again(given: argparse.Namespace, digest: str) -> int:
    """The same runs in a process whose sets of strings have another order."""
    other = "1" if os.environ.get("PYTHONHASHSEED") == "2" else "2"
    seeds = [f"--seeds={given.seeds}", f"--start={given.start}", f"--jobs={given.jobs}"]
    seeds += ["--big"] * given.big
    told = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--digests", *seeds],
        env={**os.environ, "PYTHONHASHSEED": other},
        check=True,
        capture_output=True,
    ).stdout
    same = hashlib.sha256(told).hexdigest() == digest
    print(f"again with PYTHONHASHSEED={other}: {'the same' if same else 'NOT THE SAME'}")
    return int(not same)


if __name__ == "__main__":
    sys.exit(main())
