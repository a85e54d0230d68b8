"""A real server of the tests' own: started in its own folder, stopped, killed, frozen at will."""

import importlib.util
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

KEEPER = Path(__file__).with_name("keeper.py")
READY_S = 30.0
STOP_S = 10.0
LOOK_S = 0.01


class ServerNotStarted(AssertionError):
    """A real server is needed and did not start: the run is red."""


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def package_folder(name: str) -> Path:
    """Where an installed package lies; it is not imported."""
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise ServerNotStarted(f"The package {name} is not installed: use `nox -s services`.")
    return Path(found.origin).parent


class KeptServer:
    """The processes of one server under a keeper, and the folder that is theirs."""

    def __init__(self, name: str) -> None:
        self.name = name
        # Root's servers run as somebody without rights: PostgreSQL refuses root.
        somebody = pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
        self._user = (somebody.pw_uid, somebody.pw_gid)
        self.folder = Path(tempfile.mkdtemp(prefix=f"sutazai-{name}-"))
        os.chown(self.folder, *self._user)
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", str(KEEPER), str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the tests; their end tells the keeper
        )

    @property
    def log(self) -> str:
        """What the server wrote."""
        return (self.folder / "log").read_text("utf-8", errors="replace")

    def reachable(self, package: str, tree: str) -> Path:
        """The folder `tree` of a package; a copy where the server's user cannot go there."""
        installed = package_folder(package)
        found = installed / tree
        if os.getuid() != 0 or all(above.stat().st_mode & 0o001 for above in found.parents):
            return found
        copy = self.folder / "programs" / package / tree
        if copy.is_dir():
            return copy
        shutil.copytree(found, copy)
        libraries = installed.with_name(f"{package}.libs")  # looked for beside the package
        if libraries.is_dir():
            shutil.copytree(libraries, self.folder / "programs" / libraries.name)
        for above in (self.folder / "programs", self.folder / "programs" / package):
            above.chmod(0o755)
        return copy

    def run(self, *args: str | Path, until: Callable[[int], bool]) -> int:
        """Start the server; return its pid once `until` says of it that it is ready."""
        pid: int = self._ask("start", *self._user, *map(str, args))
        limit = time.monotonic() + READY_S
        while not until(pid):
            if self._ask("look") is not None or time.monotonic() > limit:
                raise ServerNotStarted(f"{self.name} did not start:\n{self.log}")
            time.sleep(LOOK_S)
        return pid

    def once(self, *args: str | Path) -> None:
        """Run a program to its end as the server's user."""
        self._ask("start", *self._user, *map(str, args))
        if self._ask("end", 0, READY_S) != 0:
            raise ServerNotStarted(f"{args[0]} failed:\n{self.log}")

    def end(self, number: int) -> int | None:
        """Send the server a signal; return its exit code once none of its processes is left."""
        code: int | None = self._ask("end", number, STOP_S)
        return code

    def signal(self, number: int) -> None:
        """Send every process of the server a signal."""
        self._ask("signal", number)

    def close(self) -> None:
        """Leave nothing behind; safe to repeat."""
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.close()
        self._keeper.wait()
        self._keeper.stdout.close()

    def _ask(self, *words: Any) -> Any:
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.write(json.dumps(words).encode() + b"\n")
        self._keeper.stdin.flush()
        return json.loads(self._keeper.stdout.readline())
