"""What a long run may use: read from the system, held against bounds, told as a table."""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec

from tests.system.running import MARK


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """One promise: `measured` may be `most` at most."""

    what: str
    measured: float
    most: float
    note: str = ""

    @property
    def kept(self) -> bool:
        return self.measured <= self.most


class Footprint(msgspec.Struct, frozen=True, kw_only=True):
    """What one process holds, its descendants as a number only."""

    resident_mb: float
    processes: int
    files: Counter[str]
    """Its open files, by what they are open on."""

    @property
    def database_files(self) -> int:
        """Those of the database, whose pool opens a connection when first it needs one more."""
        return sum(count for name, count in self.files.items() if ".db" in name)

    @property
    def open_files(self) -> int:
        """All others."""
        return self.files.total() - self.database_files

    def __str__(self) -> str:
        return (
            f"{self.resident_mb:.1f} MB, {self.open_files} open files and {self.database_files} "
            f"of the database, {self.processes} processes"
        )


def footprint(pid: int) -> Footprint:
    """What the process holds now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return Footprint(
        resident_mb=pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
        processes=len(descendants(pid)),
        files=_open_files(pid),
    )


def _open_files(pid: int) -> Counter[str]:
    """By what they are open on."""
    files: Counter[str] = Counter()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            files[str(entry.readlink())] += 1
        except FileNotFoundError:
            continue  # it was closed meanwhile
    return files


def spent_s(pid: int) -> float:
    """The processor time that the process has taken so far, its descendants' not counted."""
    stat = Path(f"/proc/{pid}/stat").read_bytes()
    user, system = stat.rpartition(b")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def descendants(root: int) -> list[int]:
    """All processes below one."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            stat = (entry / "stat").read_bytes()
        except OSError:
            continue  # it ended meanwhile
        parent = int(stat.rpartition(b")")[2].split()[1])
        children.setdefault(parent, []).append(int(entry.name))
    found = list(children.get(root, ()))
    for pid in found:
        found += children.get(pid, ())
    return found


def marked(installation: str) -> list[int]:
    """An installation's servers and guards, wherever in the system's tree they are."""
    mark = MARK + installation.encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environ = (entry / "environ").read_bytes()
        except OSError:
            continue  # it ended meanwhile, or it is another user's
        if mark in environ:
            found.append(int(entry.name))
    return found


def told(bounds: Iterable[Bound]) -> int:
    """Print the table; 0 where all are kept, else 1."""
    broken = False
    print(f"\n{'':8}{'what':44}{'measured':>12}{'bound':>10}  note")
    for bound in bounds:
        broken = broken or not bound.kept
        verdict = "kept" if bound.kept else "BROKEN"
        print(f"{verdict:8}{bound.what:44}{bound.measured:12.2f}{bound.most:10.2f}  {bound.note}")
    return int(broken)
