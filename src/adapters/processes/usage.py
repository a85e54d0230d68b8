"""What the trees of processes under the guards use, and when that is too much."""

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from domain.model.servers import Limits, Usage

RATE_WINDOW_S = 10.0
# A start or one heavy call may use all there is for some seconds; a rate is over a while.

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    """One line of the process table: parent, CPU ticks so far, resident pages."""

    __slots__ = ("pages", "parent", "ticks")

    def __init__(self, parent: int, ticks: int, pages: int) -> None:
        self.parent = parent
        self.ticks = ticks
        self.pages = pages


def process_table() -> dict[int, Process]:
    """All processes of this machine by pid; those that end meanwhile are left out."""
    table: dict[int, Process] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - it makes hundreds of strings, not paths
        if name.isdigit():
            try:
                stat = Path(f"/proc/{name}/stat").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            fields = stat.rpartition(b")")[2].split()
            ticks = sum(map(int, fields[11:15]))  # its own and its reaped children's
            table[int(name)] = Process(int(fields[1]), ticks, int(fields[21]))
    return table


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
