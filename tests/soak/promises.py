"""What a soak measured, held against what is promised."""

import statistics

from adapters.sql.sqlite import READERS
from tests.bounds import Bound, Footprint, footprint, spent_s
from tests.soak.crashes import Watch
from tests.soak.load import Latencies, Load

MOST_GROWTH_MB = 5.0
MOST_SLOWDOWN = 2.0
MOST_DATABASE_FILES = 2 * (1 + READERS) + 1
# Each connection has the file and its log open, and all of them the log's index.
MOST_WORK = 2.0
# Of processor time: that of equal calls differs by a quarter with what else the machine does.


class Quiet:
    """What was measured before the crashes: latencies, and the processor time of a call."""

    def __init__(self, latencies: Latencies, work_s: float, calls_per_s: float) -> None:
        self.latencies, self.work_s, self.calls_per_s = latencies, work_s, calls_per_s


class Stretch:
    """From here on: how many calls were answered, and the processor time of each."""

    def __init__(self, load: Load, pid: int) -> None:
        self._load, self._pid = load, pid
        self._answered, self._spent_s = load.answered, spent_s(pid)

    def work_s(self) -> float:
        return (spent_s(self._pid) - self._spent_s) / (self._load.answered - self._answered)


class Outcome:
    """What a soak measured."""

    def __init__(self, load: Load, other: Load, watch: Watch) -> None:
        self.load, self.other, self.watch = load, other, watch
        self.start = self.end = footprint(watch.pid)
        self.crashes = 0
        self.pairs: list[tuple[Latencies, Latencies]] = []
        self.work_s = 0.0


def bounds(quiet: Quiet, outcome: Outcome) -> list[Bound]:
    """The promises of this run."""
    return [
        *_answers(outcome),
        *_left(outcome.start, outcome.end, outcome),
        Bound(
            what="processor time of a call beside quiet",
            measured=outcome.work_s / quiet.work_s,
            most=MOST_WORK,
            note=f"{quiet.work_s * 1e6:.0f} -> {outcome.work_s * 1e6:.0f} us",
        ),
        slowdown(quiet, outcome.pairs),
    ]


def _answers(outcome: Outcome) -> list[Bound]:
    load = outcome.load
    return [
        Bound(
            what="calls unanswered past deadline plus 1 s",
            measured=outcome.watch.unanswered,
            most=0,
            note=f"longest {load.longest_s * 1000:.0f} ms, "
            f"of the crashing server {outcome.other.longest_s * 1000:.0f} ms",
        ),
        Bound(
            what="calls of steady servers not answered 200",
            measured=sum(load.statuses.values()) - load.statuses[200],
            most=0,
            note=f"{load.answered} calls; crashing: {dict(outcome.other.statuses)}",
        ),
    ]


def _left(start: Footprint, end: Footprint, outcome: Outcome) -> list[Bound]:
    """What the crashes left behind."""
    seen = outcome.watch.seen
    most = max(each.resident_mb for each in seen)
    return [
        Bound(
            what="growth after the warm-up, MB",
            measured=end.resident_mb - start.resident_mb,
            most=MOST_GROWTH_MB,
            note=f"{start.resident_mb:.1f} -> {end.resident_mb:.1f} MB, most {most:.1f}",
        ),
        Bound(
            what="open files more or less than at the start",
            measured=abs(end.open_files - start.open_files),
            most=0,
            note=f"{start.open_files} -> {end.open_files}, "
            f"most {max(each.open_files for each in seen)}{_changed(start, end)}",
        ),
        Bound(
            what="open files of the database",
            measured=end.database_files,
            most=MOST_DATABASE_FILES,
            note=f"{start.database_files} at the start",
        ),
        Bound(
            what="processes more or less than at the start",
            measured=abs(end.processes - start.processes),
            most=0,
            note=f"{start.processes}, most {max(each.processes for each in seen)}; "
            f"{outcome.crashes} crashes",
        ),
    ]


def _changed(start: Footprint, end: Footprint) -> str:
    """What was opened and closed meanwhile, where the numbers differ."""
    if start.open_files == end.open_files:
        return ""
    return f"; new {dict(end.files - start.files)}, gone {dict(start.files - end.files)}"


def slowdown(quiet: Quiet, pairs: list[tuple[Latencies, Latencies]]) -> Bound:
    """The steady servers' p99 after a crash as a multiple of that before the next."""
    struck, calm = ([p99_ms(pair[half]) for pair in pairs] for half in (0, 1))
    ratios = [after / before for after, before in zip(struck, calm, strict=True)]
    return Bound(
        what="p99 of steady servers after a crash",
        measured=statistics.median(ratios),
        most=MOST_SLOWDOWN,
        note=f"{statistics.median(struck):.1f} beside {statistics.median(calm):.1f} ms, "
        f"{len(pairs)} pairs; before all crashes {p99_ms(quiet.latencies):.1f} ms",
    )


def p99_ms(latencies: Latencies) -> float:
    """Of calls that are due at a steady pace, whether or not the one before has its answer.

    A connection that waits for an answer sends nothing: without the calls that it would have sent
    meanwhile, each with what was left to wait, a standstill of everything were one slow call.
    """
    pace = statistics.median(latencies)
    missed = (
        latency - pace * number for latency in latencies for number in range(1, int(latency / pace))
    )
    return statistics.quantiles([*latencies, *missed], n=100)[98] * 1000
