"""Who works in a data folder: its locks, the installation's id, and who holds a port."""

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from domain.errors import Conflict

LOCK_FILE = "serve.lock"
WORKER_LOCK = "work-{}.lock"
ID_FILE = "installation-id"
_LISTEN = "0A"


class FolderHeld(Conflict):
    """Another system works in this data folder."""


@contextmanager
def folder_claim(folder: Path, address: str) -> Iterator[None]:
    """Hold the folder until the block is left; the kernel lets go when this process ends.

    Raises FolderHeld naming the holder's process and address.
    """
    with _lock_file(folder / LOCK_FILE) as descriptor:
        if not _locked(descriptor, f"pid {os.getpid()}, {address}"):
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
            raise FolderHeld(
                f"The data folder {folder} is held by another system"
                + (f" ({holder})." if holder else ".")
            )
        yield


@contextmanager
def worker_claim(folder: Path) -> Iterator[int]:
    """Hold the first number from 1 on that no worker in the folder has, as `folder_claim`."""
    for number in count(1):
        with _lock_file(folder / WORKER_LOCK.format(number)) as descriptor:
            if _locked(descriptor, f"pid {os.getpid()}"):
                yield number
                return


@contextmanager
def _lock_file(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _locked(descriptor: int, holder: str) -> bool:
    """Lock the file and write into it who holds it; False where another does."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{holder}\n".encode(), 0)
    return True


def installation_id(folder: Path) -> str:
    """This installation's own id, made on its first start; of many starters one makes it."""
    path = folder / ID_FILE
    if not path.exists():
        fresh = folder / f"{ID_FILE}.{os.getpid()}"
        fresh.write_text(f"{uuid.uuid4()}\n", "utf-8")
        with suppress(FileExistsError):
            os.link(fresh, path)
        fresh.unlink()
    return path.read_text("utf-8").strip()


def listener_of(port: int) -> str:
    """Who listens on a TCP port of this machine, as far as this user may see: for a message."""
    inodes = {
        f"socket:[{fields[9]}]"
        for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
        if table.exists()
        for fields in map(str.split, table.read_text("ascii").splitlines()[1:])
        if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port
    }
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(link.readlink()) in inodes for link in (process / "fd").iterdir()):
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ")
                return f"pid {process.name}: {command[:80].decode(errors='replace').strip()}"
        except OSError:
            continue  # another user's, or gone meanwhile
    return ""
