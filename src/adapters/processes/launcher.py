"""Starting servers as child processes, each under a guard that ends its whole tree."""

import asyncio
import errno
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from itertools import count
from pathlib import Path

from adapters.processes.child import ProcessChild
from adapters.processes.environment import MARK, child_environment
from adapters.processes.leftovers import end_marked, start_time
from adapters.processes.usage import measured, process_table, trees
from domain.model.metering import excess
from domain.model.servers import DEFAULT_LIMITS, Command, Limits, ServerName
from domain.ports.launching import LaunchFailed

SAMPLE_S = 1.0
# A tree that grows 1 GB/s is seen before it takes what the machine has; a look costs milliseconds.
STOP_GRACE = timedelta(seconds=2)
# Per step of the ladder at shutdown; python-sdk gives the same.

_GUARD = str(Path(__file__).with_name("guard.py"))
_LAUNCH = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")
# The launching process, its start in ticks since boot, a running number.
_GUARD_NEEDS = ("LD_LIBRARY_PATH",)
# An interpreter with a shared library of its own does not start without it.
_REASONS = {
    ("command", errno.ENOENT): "no such command",
    ("command", errno.EACCES): "it may not be executed",
    ("folder", errno.ENOENT): "no such folder",
    ("folder", errno.ENOTDIR): "its folder is not a folder",
    ("folder", errno.EACCES): "its folder may not be entered",
}


class ProcessLauncher:
    """Starts recipes as processes of this machine.

    `installation` tells this installation's processes from another's; `environment` is what
    children inherit a stated part of.
    """

    def __init__(self, installation: str, environment: Mapping[str, str]) -> None:
        self._installation = installation
        self._environment = environment
        self._life = f"{os.getpid()}.{start_time(os.getpid()) or 0}"
        self._numbers = count(1)
        self._children: set[ProcessChild] = set()
        self._closed = False
        self._sampling: asyncio.Task[None] | None = None

    @property
    def running(self) -> int:
        """How many children have processes left."""
        return len(self._children)

    async def launch(
        self, name: ServerName, recipe: Command, limits: Limits = DEFAULT_LIMITS
    ) -> ProcessChild:
        if self._closed:
            raise LaunchFailed(f"{name} was not started: this system is stopping.")
        mark = f"{self._installation}/{self._life}.{next(self._numbers)}"
        try:
            request = self._request(recipe, limits, mark)
        except ValueError as error:
            raise _failed(name, recipe, "its recipe holds what no process can take") from error
        try:
            child = self._start_guard(mark, limits)
        except OSError as error:
            raise _failed(name, recipe, os.strerror(error.errno or 0)) from error
        self._children.add(child)
        if self._sampling is None or self._sampling.done():
            self._sampling = asyncio.create_task(self._sample())
        child.on_gone(self._children.discard)
        failure = await child.start(request)
        if failure:
            stage, number = failure.split()
            reason = _REASONS.get((stage, int(number))) or os.strerror(int(number))
            raise _failed(name, recipe, "its guard failed" if stage == "guard" else reason)
        return child

    async def sweep(self) -> int:
        return await end_marked(self._left_behind)

    async def aclose(self, grace: timedelta = STOP_GRACE) -> None:
        """End all children, side by side; nothing is started after this."""
        self._closed = True
        await asyncio.gather(*(child.end(grace) for child in self._children))
        if self._sampling is not None:
            self._sampling.cancel()
            await asyncio.wait({self._sampling})

    async def _sample(self) -> None:
        """One look at the process table a second, for all children, while there are any."""
        while self._children and sys.platform == "linux":
            await asyncio.sleep(SAMPLE_S)
            table = process_table()
            below = trees(table, [child.guard_pid for child in self._children])
            for child in self._children:
                pids = below[child.guard_pid]
                if not pids:
                    continue
                cpu_s, memory_bytes = measured(table, pids)
                usage = child.meter.take(
                    time.monotonic(),
                    cpu_s=cpu_s,
                    written=child.written,
                    memory_bytes=memory_bytes,
                    processes=len(pids),
                )
                over = excess(usage, child.limits, settled=child.meter.settled)
                if over:
                    child.go_over(over)

    def _left_behind(self, mark: str) -> bool:
        """Whether the mark is this installation's and the process that gave it is no more."""
        installation, _, launch = mark.rpartition("/")
        if installation != self._installation or not _LAUNCH.fullmatch(launch):
            return False
        pid, started, _ = map(int, launch.split("."))
        return start_time(pid) != started

    def _request(self, recipe: Command, limits: Limits, mark: str) -> bytes:
        args = (recipe.command, *recipe.args)
        env = child_environment(self._environment, recipe.env, mark)
        if not recipe.command or any(not name or "=" in name for name in env):
            raise ValueError("empty command or impossible variable name")
        pairs = (f"{name}={value}" for name, value in env.items())
        fields = [str(limits.open_files), recipe.cwd or "", str(len(args)), *args, *pairs]
        body = b"".join(os.fsencode(field) + b"\0" for field in fields)
        if body.count(b"\0") != len(fields):
            raise ValueError("NUL")
        return len(body).to_bytes(4, "big") + body

    def _start_guard(self, mark: str, limits: Limits) -> ProcessChild:
        opened: list[int] = []
        try:
            for _ in range(3):
                opened += os.pipe()
            ours, theirs = socket.socketpair()
        except OSError:
            _close(opened)
            raise
        stdin, stdin_end, stdout_end, stdout, stderr_end, stderr = opened  # ours: the `_end`s
        env = {name: self._environment[name] for name in _GUARD_NEEDS if name in self._environment}
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", _GUARD, str(theirs.fileno())],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env={**env, MARK: mark},
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except OSError:
            ours.close()
            _close([stdin_end, stdout_end, stderr_end])
            raise
        finally:
            theirs.close()
            _close([stdin, stdout, stderr])
        ours.setblocking(False)
        return ProcessChild(process, ours, (stdin_end, stdout_end, stderr_end), mark, limits)


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _failed(name: ServerName, recipe: Command, reason: str) -> LaunchFailed:
    return LaunchFailed(f"{name} was not started: {recipe.command!r}: {reason}.", server=name)
