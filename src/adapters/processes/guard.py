"""The guard of one server: starts it, watches it and its starter, and ends its whole tree.

It runs as a program of its own, `python -I -S guard.py FD`, and imports only what it needs.
FD is one end of a socket pair to the starter; its other end closing, however the starter died,
is the order to kill. The starter first sends the request: a length of four bytes, then fields
ended by NUL: the limit of open files, the folder (may be empty), the number of arguments, the
arguments, the environment as NAME=VALUE. After that it may order TERMINATE (politely).
The guard answers in lines: `started PID`, or `failed folder|command|guard ERRNO` and the end;
later `exited STATUS` (negative: the signal). The starter sees the end of file when no process
of the server is left.

On Linux the guard adopts every descendant that loses its parent, so that none escapes, and the
server dies with the guard. Elsewhere there is only the server's process group: a descendant
that leaves it is not found, and killing the guard itself with SIGKILL leaves the server alive.
"""

import ctypes
import os
import resource
import select
import signal
import sys

TERMINATE = b"t"
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
KILL_ROUND_MS = 5
# A descendant may be forked while the tree is read: look again, at the latest after this.
KILL_ROUNDS = 2000
# Ten seconds: who is still there cannot be killed (another user's, or stuck in the kernel).
LINUX = sys.platform == "linux"


def prctl(option: int, value: int) -> None:
    """Set one attribute of this process, on Linux only."""
    if LINUX and ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def hear(control: int, size: int) -> bytes:
    """What the starter sent, at most `size` bytes; empty when it is gone."""
    try:
        return os.read(control, size)
    except ConnectionResetError:  # it died with a report unread
        return b""


def take(control: int, size: int) -> bytes:
    """Exactly `size` bytes; the starter's end before that ends the guard."""
    data = b""
    while len(data) < size:
        chunk = hear(control, size - len(data))
        if not chunk:
            sys.exit(1)
        data += chunk
    return data


def tell(control: int, line: str) -> None:
    """Report to the starter, which may be gone: hearing tells that."""
    try:
        os.write(control, line.encode() + b"\n")
    except (BrokenPipeError, ConnectionResetError):
        return


def limit(files: int) -> None:
    """No core dumps (they hold secrets), and at most this many open files."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    bound = files if hard == resource.RLIM_INFINITY else min(files, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (bound, bound))


def restore_signals() -> None:
    """Every signal as a fresh program expects it, whatever this system's starter ignored."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def candidates(command: bytes, path: bytes) -> list[bytes]:
    """Where the command may lie: in the folders of the server's own PATH."""
    if b"/" in command:
        return [command]
    return [(folder or b".") + b"/" + command for folder in path.split(b":")]


def become(guard: int, folder: bytes, args: list[bytes], env: dict[bytes, bytes]) -> str:
    """Turn this fresh child into the server; on return the stage and errno that prevented it."""
    stage = "guard"
    try:
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:
            os._exit(1)
        restore_signals()
        stage = "folder"
        if folder:
            os.chdir(folder)
    except OSError as error:
        return f"{stage} {error.errno}"
    reason = None
    for file in candidates(args[0], env.get(b"PATH", os.defpath.encode())):
        try:
            os.execve(file, args, env)  # noqa: S606  no shell is meant
        except (FileNotFoundError, NotADirectoryError) as error:
            reason = reason or error.errno
        except OSError as error:
            reason = error.errno
    return f"command {reason}"


def spawn(folder: bytes, args: list[bytes], env: dict[bytes, bytes]) -> tuple[int, str]:
    """Fork the server; return its pid and, when it could not be started, why."""
    guard = os.getpid()
    result, report = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(report, become(guard, folder, args, env).encode())
        finally:
            os._exit(127)
    os.close(report)
    failure = os.read(result, 100).decode()
    os.close(result)
    if failure:
        os.waitpid(pid, 0)
    return pid, failure


def descendants() -> list[int]:
    """Every live process under this one, by the parents that /proc names."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208  pathlib costs more than the rest
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123  as above
                    parent = int(file.read().rpartition(b")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            children.setdefault(parent, []).append(int(name))
    found = list(children.get(os.getpid(), ()))
    for pid in found:
        found += children.get(pid, ())
    return found


def signal_tree(server: int, number: int) -> None:
    """Send a signal to the server and all its descendants."""
    for pid in descendants() if LINUX else [-server]:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def reap(control: int, server: int) -> tuple[bool, bool]:
    """Collect who has ended; return whether the server did, and whether nobody is left."""
    ended = False
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended, True
        if pid == 0:
            return ended, False
        if pid == server:
            ended = True
            tell(control, f"exited {os.waitstatus_to_exitcode(status)}")


def watch(control: int, wake: int, server: int) -> None:
    """Return when the tree is to be killed, or when no process of it is left."""
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(wake, select.POLLIN)
    ending = False
    while True:
        ready = dict(poll.poll())
        if wake in ready:
            os.read(wake, 4096)
        if control in ready:
            if hear(control, 1) != TERMINATE:
                return
            ending = True
            signal_tree(server, signal.SIGTERM)
        exited, alone = reap(control, server)
        # After a polite order the rest of the tree keeps its grace when the server goes first.
        if alone or (exited and not ending):
            return


def kill(control: int, wake: int, server: int) -> None:
    """Kill the tree, until no process of it is left."""
    poll = select.poll()
    poll.register(wake, select.POLLIN)
    for _ in range(KILL_ROUNDS):
        if reap(control, server)[1]:
            return
        signal_tree(server, signal.SIGKILL)
        if poll.poll(KILL_ROUND_MS):
            os.read(wake, 4096)


def main() -> None:
    """Be the guard of one server to its end."""
    control = int(sys.argv[1])
    os.set_inheritable(control, False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a service manager signals all: order is kept here
    body = take(control, int.from_bytes(take(control, 4), "big"))
    files, folder, count, *rest = body.split(b"\0")
    args, pairs = rest[: int(count)], rest[int(count) : -1]
    env = {name: value for name, _, value in (pair.partition(b"=") for pair in pairs)}
    wake, woken = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    limit(int(files))
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    server, failure = spawn(folder, args, env)
    if failure:
        tell(control, f"failed {failure}")
        return
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)  # else the ends of the server's pipes would never show
    tell(control, f"started {server}")
    watch(control, wake, server)
    kill(control, wake, server)


if __name__ == "__main__":
    main()
