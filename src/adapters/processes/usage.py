"""What the trees of processes under the guards use."""

import os
from collections.abc import Iterable, Mapping

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


def measured(table: Mapping[int, Process], pids: Iterable[int]) -> tuple[float, int]:
    """Seconds of processor time and bytes of memory of some processes together."""
    processes = [table[pid] for pid in pids]
    ticks = sum(process.ticks for process in processes)
    return ticks / _TICKS, sum(process.pages for process in processes) * _PAGE
