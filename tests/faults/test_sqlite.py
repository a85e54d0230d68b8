"""Workers whose database file cannot be written for a while."""

import os
import resource
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from domain.model.tasks import TaskStatus
from domain.ports.storage import StorageUnavailable
from tests.faults.cluster import Cluster, Job
from tests.faults.conftest import SQLITE, Make, on
from tests.system.running import eventually

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]

LOCKED_S = 6.0
# Longer than a statement waits for a lock (5 s), shorter than a lease (10 s).
FULL_S = 5.0
DISK_MB = 4
SOON_S = 3.0
# Who could not write tries again each second.


def jobs(number: int) -> list[Job]:
    return [Job(name=f"{n:02}", seconds=0.5, idempotent=n % 2 == 0) for n in range(number)]


def all_ran_once(cluster: Cluster) -> None:
    found = cluster.settled()
    assert {task.status for task in found.values()} == {TaskStatus.SUCCEEDED}
    assert cluster.crew.times() == dict.fromkeys(found, 1)


@on(SQLITE)
def test_a_file_that_is_locked_for_seconds_delays_and_nothing_more(cluster: Cluster) -> None:
    cluster.working(2)
    cluster.submit(*jobs(40))
    eventually(lambda: len(cluster.crew.calls()) >= 10)
    with closing(sqlite3.connect(cluster.file, timeout=5, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert any(task.status is TaskStatus.QUEUED for task in cluster.tasks().values())
        time.sleep(LOCKED_S / 2)
        waiting = len(cluster.crew.calls())
        time.sleep(LOCKED_S / 2)
        assert len(cluster.crew.calls()) == waiting  # no call that could not be recorded before
        other.execute("ROLLBACK")
    free = time.monotonic()
    eventually(lambda: len(cluster.crew.calls()) > waiting, SOON_S)
    print(f"went on {time.monotonic() - free:.1f} s after the lock was gone")
    all_ran_once(cluster)
    assert any("is locked by another process" in worker.log for worker in cluster.workers)


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A disk of some megabytes at the folder; whether this user may have one."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, check=False, stderr=subprocess.DEVNULL).returncode:
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Leave no byte on it."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))
    yield
    filler.unlink()


@contextmanager
def not_growing(*pids: int) -> Iterator[None]:
    """Let no file grow that these processes write: what anybody may do without a disk to fill."""
    without = resource.RLIM_INFINITY
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, without))
    yield
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (without, without))


@on(SQLITE)
def test_a_full_disk_delays_and_nothing_more(make: Make, database: str, tmp_path: Path) -> None:
    data = tmp_path / "cluster" / "data"
    data.mkdir(parents=True)
    with small_disk(data) as mounted:
        cluster = make(database)
        workers = cluster.working(2)
        cluster.submit(*jobs(40))
        eventually(lambda: len(cluster.crew.calls()) >= 10)
        pids = [worker.process.pid for worker in workers]
        with full(data) if mounted else not_growing(*pids):
            if mounted:
                with pytest.raises(StorageUnavailable, match="no room left"):
                    cluster.submit(Job(name="refused"))
            time.sleep(FULL_S / 2)
            waiting = len(cluster.crew.calls())
            time.sleep(FULL_S / 2)
            assert len(cluster.crew.calls()) == waiting  # no call that could not be recorded before
        begun = time.monotonic()
        eventually(lambda: len(cluster.crew.calls()) > waiting, SOON_S)
        way = "a small disk" if mounted else "a limit on the size of files"
        print(f"by {way}: went on {time.monotonic() - begun:.1f} s after there was room")
        all_ran_once(cluster)
        for worker in workers:
            assert worker.end() == 0
