"""Which seed finds which deliberate fault."""

from collections.abc import Iterable

import msgspec

from tests.simulation.climate import USUAL
from tests.simulation.faults import promises, queue, servers, work
from tests.simulation.faults.fault import Fault
from tests.simulation.world import Report, run

FAULTS: dict[str, Fault] = {
    **queue.faults.all,
    **work.faults.all,
    **promises.faults.all,
    **servers.faults.all,
}
MOST_SEEDS = 200
# Within so many each fault must be found.


MISTAKES = ("AttributeError(", "TypeError(", "NameError(", "the run itself broke")
# A fault that calls what is no longer there proves nothing: it is to be mended, not found.


class Find(msgspec.Struct, frozen=True, kw_only=True):
    """The first run that shows a fault, None where none did."""

    fault: Fault
    report: Report | None


def hunt(fault: Fault, seeds: Iterable[int] = range(MOST_SEEDS)) -> Find:
    """Run seed after seed until one breaks a rule."""
    for seed in seeds:
        report = run(seed, USUAL, fault)
        if any(mistake in rule for rule in report.broken for mistake in MISTAKES):
            raise RuntimeError(f"{fault.name} does not fit the code any more: {report.broken}")
        if report.broken:
            return Find(fault=fault, report=report)
    return Find(fault=fault, report=None)


def told(find: Find) -> str:
    """One line of the table."""
    name = find.fault.name
    if find.report is None:
        return f"{name:32} NOT FOUND within {MOST_SEEDS} seeds: {find.fault.what}"
    return f"{name:32} {find.report.seed:4}  {find.report.broken[0][:90]}"
