"""Processes that carry this system's mark in their environment, and ending exactly those."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from adapters.processes.environment import MARK

ROUNDS = 20
# One that is being forked while /proc is read shows in the next round.
ROUND_S = 0.5
# A killed process is gone within milliseconds, unless the kernel holds it.

_MARK = MARK.encode() + b"="


def start_time(pid: int) -> int | None:
    """When a live process started, in clock ticks since boot; None when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = stat.rpartition(b")")[2].split()
    return None if state in {b"Z", b"X"} else int(fields[18])


def mark_of(pid: int) -> str | None:
    """The mark that a process of this user carries, if any."""
    try:
        if Path(f"/proc/{pid}").stat().st_uid != os.geteuid():
            return None
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    for entry in environment.split(b"\0"):
        if entry.startswith(_MARK):
            return os.fsdecode(entry.removeprefix(_MARK))
    return None


def marked(ours: Callable[[str], bool]) -> Iterator[int]:
    """The processes whose mark is ours; this one is never among them."""
    for name in os.listdir("/proc"):  # noqa: PTH208  it makes hundreds of strings, not paths
        if name.isdigit() and int(name) != os.getpid():
            mark = mark_of(int(name))
            if mark is not None and ours(mark):
                yield int(name)


async def end_marked(ours: Callable[[str], bool]) -> int:
    """Kill the processes whose mark is ours; return how many there were.

    Outside Linux there is no telling, and nothing is touched.
    """
    killed: set[int] = set()
    for _ in range(ROUNDS if sys.platform == "linux" else 0):
        handles = dict(_kill(ours))
        if not handles:
            break
        killed.update(handles)
        try:
            for handle in handles.values():
                await _gone(handle)
        finally:
            for handle in handles.values():
                os.close(handle)
    return len(killed)


def _kill(ours: Callable[[str], bool]) -> Iterator[tuple[int, int]]:
    for pid in marked(ours):
        with suppress(ProcessLookupError):
            handle = os.pidfd_open(pid)
            # Read again: the handle, unlike the pid, cannot come to mean another process.
            mark = mark_of(pid)
            if mark is None or not ours(mark):
                os.close(handle)
                continue
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            yield pid, handle


async def _gone(handle: int) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(handle, ended.set)
    try:
        async with asyncio.timeout(ROUND_S):
            await ended.wait()
    except TimeoutError:
        return
    finally:
        loop.remove_reader(handle)
