"""Keeps one real server for the tests, so that nothing of it outlives them however they end.

It runs as a program, `python -I -S keeper.py FOLDER`, and does what each line of its standard
input says (a JSON array), answering with a line: `start UID GID ARGUMENT ...` with the pid, `look`
with the exit code or nothing, `signal NUMBER` to all of the server's processes, `end NUMBER
SECONDS` to the server and, after so many seconds, death to what is left.
The end of its input, which the death of the tests is too, kills every process and removes the
folder. Descendants that lose their parent become the keeper's; the server dies with the keeper,
and then only the folder stays.
"""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LOOK_S = 0.01


def prctl(option: int, value: int) -> None:
    """Set one attribute of this process."""
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def descendants() -> list[int]:
    """Every process under this one."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - names, not paths
        try:
            with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123 - as above
                parent = int(file.read().rpartition(b")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(name))
    found = list(children.get(os.getpid(), ()))
    for pid in found:
        found += children.get(pid, ())
    return found


def send(pids: list[int], number: int) -> None:
    """A signal to each that is still there."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


class Keeper:
    """The server's processes, one life after the other."""

    def __init__(self) -> None:
        self._ended: dict[int, int] = {}
        self._started: subprocess.Popen[bytes] | None = None

    def start(self, uid: int, gid: int, *args: str) -> int:
        """Start the server in the folder; its output goes to the file `log` there."""
        identity = {} if os.getuid() == uid else {"user": uid, "group": gid, "extra_groups": []}
        with open("log", "ab") as log:  # noqa: PTH123 - as above
            # Kept: a Popen that is forgotten takes the exit code with it.
            self._started = subprocess.Popen(
                args,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                # After the change of user, which would take it back.
                preexec_fn=lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL),  # noqa: PLW1509
                **identity,  # type: ignore[call-overload]
            )
        return self._started.pid

    def look(self) -> int | None:
        """The server's exit code; collects whoever has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            self._ended[pid] = os.waitstatus_to_exitcode(status)
        return None if self._started is None else self._ended.get(self._started.pid)

    def signal(self, number: int) -> None:
        """A signal to every process."""
        send(descendants(), number)

    def end(self, number: int, seconds: float) -> int | None:
        """Return once no process is left."""
        if self.look() is None and self._started is not None:
            send([self._started.pid], number)
        until = time.monotonic() + seconds
        while left := descendants():
            if time.monotonic() >= until:
                send(left, signal.SIGKILL)
            time.sleep(LOOK_S)
            self.look()
        return self.look()


def main() -> None:
    """Obey until the input ends."""
    folder = sys.argv[1]
    os.chdir(folder)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    keeper = Keeper()
    for line in sys.stdin:
        word, *rest = json.loads(line)
        sys.stdout.write(json.dumps(getattr(keeper, word)(*rest)) + "\n")
        sys.stdout.flush()
    keeper.end(signal.SIGKILL, 0)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
