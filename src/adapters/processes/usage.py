"""What the trees of processes under the guards use, and when that is too much."""

import os
import time
from collections.abc import Iterable, Mapping

from domain.model.servers import Limits, Usage

RATE_WINDOW_S = 10.0
# A start or one heavy call may use all there is for some seconds; a rate is over a while.

STAT_BYTES = 4096
# The kernel gives a whole line at once; its 52 fields are far shorter.
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    """One line of the process table: parent, CPU ticks so far, resident pages.

    Parent is read at once, the rest when asked for: most processes are not ours.
    """

    __slots__ = ("_fields", "parent")

    def __init__(self, stat: bytes) -> None:
        self._fields = stat[stat.rindex(b")") + 2 :]
        self.parent = int(self._fields.split(None, 2)[1])

    @property
    def ticks(self) -> int:
        """Its own and its reaped children's."""
        return sum(map(int, self._fields.split()[11:15]))

    @property
    def pages(self) -> int:
        """What is in memory of it."""
        return int(self._fields.split()[21])


def process_table() -> dict[int, Process]:
    """All processes of this machine by pid; those that end meanwhile are left out."""
    table: dict[int, Process] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - it makes hundreds of strings, not paths
        if name.isdigit() and (stat := _stat(name)):
            table[int(name)] = Process(stat)
    return table


def _stat(pid: str) -> bytes:
    """Its line, empty where it has ended; without a file object, which costs more than the line."""
    try:
        file = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    try:
        return os.read(file, STAT_BYTES)
    except ProcessLookupError:
        return b""
    finally:
        os.close(file)


def trees(table: Mapping[int, Process], roots: Iterable[int]) -> dict[int, list[int]]:
    """The descendants of each root, the root itself left out."""
    children: dict[int, list[int]] = {}
    for pid, process in table.items():
        children.setdefault(process.parent, []).append(pid)
    found: dict[int, list[int]] = {}
    for root in roots:
        below = list(children.get(root, ()))
        for pid in below:
            below += children.get(pid, ())
        found[root] = below
    return found


class Meter:
    """The use of one tree over time."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, int, int]] = []
        self.usage: Usage | None = None

    def read(self, table: Mapping[int, Process], pids: Iterable[int], written: int) -> Usage:
        """Take one sample; rates are over the window's. `written` is all its output so far."""
        processes = [table[pid] for pid in pids]
        now, ticks = time.monotonic(), sum(process.ticks for process in processes)
        self._samples.append((now, ticks, written))
        while now - self._samples[0][0] > RATE_WINDOW_S:
            del self._samples[0]
        begun, ticks_before, written_before = self._samples[0]
        seconds = now - begun or 1.0
        self.usage = Usage(
            memory_bytes=sum(process.pages for process in processes) * _PAGE,
            processes=len(processes),
            cpu_percent=round(max(0, ticks - ticks_before) / _TICKS / seconds * 100, 1),
            output_mb_per_s=round((written - written_before) / 1e6 / seconds, 3),
        )
        return self.usage

    @property
    def settled(self) -> bool:
        """Whether the samples cover the window, so that the rate means something."""
        return self._samples[-1][0] - self._samples[0][0] > RATE_WINDOW_S * 0.8


def excess(usage: Usage, limits: Limits, *, settled: bool) -> str:
    """Which limit is exceeded and by what, empty where none is."""
    memory_mb = usage.memory_bytes / 1e6
    if limits.memory_mb is not None and memory_mb > limits.memory_mb:
        return f"it used {memory_mb:.0f} MB of memory, over its limit of {limits.memory_mb} MB"
    if limits.processes is not None and usage.processes > limits.processes:
        return f"it ran {usage.processes} processes, over its limit of {limits.processes}"
    if limits.cpu_percent is not None and settled and usage.cpu_percent > limits.cpu_percent:
        return (
            f"it used {usage.cpu_percent:.0f} % of a core for {RATE_WINDOW_S:g} s, "
            f"over its limit of {limits.cpu_percent:g} %"
        )
    most = limits.output_mb_per_s
    if most is not None and settled and usage.output_mb_per_s > most:
        return (
            f"it wrote {usage.output_mb_per_s:g} MB/s for {RATE_WINDOW_S:g} s, "
            f"over its limit of {most:g} MB/s"
        )
    return ""
