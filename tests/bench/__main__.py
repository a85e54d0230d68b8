"""The benchmark: tool calls over HTTP, beside the same session without it, beside mcpo.

With `--against REVISION` it is today's system beside that of an older commit instead.

Every figure is of this run and this machine; what to read are the ratios. The systems take
turns, round by round, so that a machine whose speed drifts treats them alike.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import msgspec
import uvloop

from tests.bench.against import compare
from tests.bench.load import Measured, post_load
from tests.bench.systems import CALL, CONNECTIONS, bare_import_s, mcpo, resident_mb, sutazai

ROUNDS = 3
SECONDS = 3.0

Load = Callable[[int], Measured]


def over_http(port: int, path: str) -> Load:
    return lambda connections: uvloop.run(post_load(port, path, connections, SECONDS))


def without_http(in_flight: int) -> Measured:
    command = [sys.executable, "-m", "tests.bench.session", str(in_flight), str(SECONDS)]
    output = subprocess.run(command, check=True, capture_output=True).stdout
    return msgspec.json.decode(output, type=Measured)


def table(loads: dict[str, Load]) -> None:
    """Measure each in turn and print medians, with ratios to the last one."""
    print(f"{'':14}{'conns':>6}{'calls/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'ratio':>8}")
    for connections in CONNECTIONS:
        rounds = [{name: load(connections) for name, load in loads.items()} for _ in range(ROUNDS)]
        base = median(one["mcpo"].calls_per_s for one in rounds)
        for name in loads:
            rate = median(one[name].calls_per_s for one in rounds)
            p50 = median(one[name].p50_ms for one in rounds)
            p99 = median(one[name].p99_ms for one in rounds)
            print(
                f"{name:14}{connections:6}{rate:10.0f}{p50:9.2f}{p99:9.2f}{rate / base:8.2f}",
                flush=True,
            )


def absolute(folder: Path) -> None:
    """How soon the system is ready, what it holds, and its calls beside others'."""
    with sutazai(folder):
        pass  # the first start makes the tables
    ready, bare = [], []
    for _ in range(ROUNDS):
        bare.append(bare_import_s())
        with sutazai(folder) as (_, _, seconds):
            ready.append(seconds)
    ratio = median(ready) / median(bare)
    print(f"ready {median(ready):.2f} s, bare imports {median(bare):.2f} s, ratio {ratio:.2f}")
    with sutazai(folder) as (port, pid, _), mcpo() as other:
        before = resident_mb(pid)
        table(
            {
                "sutazai": over_http(port, CALL),
                "without HTTP": without_http,
                "mcpo": over_http(other, "/echo"),
            }
        )
        print(f"resident {before:.0f} MB when ready, {resident_mb(pid):.0f} MB after the load")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--against", metavar="REVISION", help="an older commit to compare with")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    with tempfile.TemporaryDirectory() as name:
        if given.against is None:
            absolute(Path(name))
        else:
            compare(given.against, Path(name))


if __name__ == "__main__":
    main()
