"""The whole system as a process of its own, and what a test asks of it from outside."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import httpx

MARK = b"_SUTAZAI_NODE="
START_S = 30.0
# A cold start imports everything on a machine that may be busy.
STOP_S = 20.0


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(seen: Callable[[], Any], within: float = 10.0) -> Any:
    """The first true value that `seen` gives; fails after `within` seconds."""
    limit = time.monotonic() + within
    while not (value := seen()):
        if time.monotonic() > limit:
            raise AssertionError(f"not seen within {within} s")
        time.sleep(0.02)
    return value


class System:
    """One `sutazai serve` on a data folder. Starting again is a new process on the same folder."""

    def __init__(
        self, folder: Path, servers: Mapping[str, Any] | None = None, **settings: str
    ) -> None:
        self.data = folder / "data"
        self.port = free_port()
        self._settings = {f"SUTAZAI_{name.upper()}": text for name, text in settings.items()}
        self._folder = folder
        self.config = folder / "mcp.json"
        self.config.write_text(json.dumps({"mcpServers": servers or {}}), "utf-8")
        self.program: tuple[str, ...] = (str(Path(sys.executable).with_name("sutazai")),)
        self.process: subprocess.Popen[bytes] | None = None
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)

    def command(self) -> list[str]:
        """What is started."""
        return [
            *self.program,
            "serve",
            f"--port={self.port}",
            f"--data-dir={self.data}",
            f"--mcp-config={self.config}",
        ]

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the system: this one's, less its own names."""
        inherited = {
            name: text for name, text in os.environ.items() if not name.startswith("SUTAZAI_")
        }
        return inherited | self._settings

    @property
    def log(self) -> str:
        """All that the system wrote."""
        return (self._folder / "log").read_text("utf-8", errors="replace")

    @property
    def installation(self) -> str:
        """The id that marks this installation's processes."""
        return (self.data / "installation-id").read_text("utf-8").strip()

    def start(self) -> Self:
        """Return once it is ready."""
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, env=self.environment
            )
        eventually(self._ready, START_S)
        return self

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log
        try:
            return self.client.get("/readyz").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(STOP_S)

    def close(self) -> None:
        """Leave nothing behind, whatever the test did."""
        self.client.close()
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def marked(self) -> list[int]:
        """Processes of this installation's servers and guards, found over all of /proc."""
        mark = MARK + self.installation.encode()
        return [
            int(entry.name) for entry in Path("/proc").glob("[0-9]*") if mark in _environ(entry)
        ]

    def get(self, path: str, **query: Any) -> Any:
        """The JSON of a GET that must succeed."""
        answer = self.client.get(path, params=query)
        assert answer.is_success, answer.text
        return answer.json()

    def post(self, path: str, body: Any = None, status: int = 200) -> Any:
        """The JSON of a POST that must answer `status`."""
        answer = self.client.post(path, json=body) if body is not None else self.client.post(path)
        assert answer.status_code == status, answer.text
        return answer.json()

    def server(self, name: str) -> Any:
        """One server's entry in /api/v1/mcp/health."""
        return self.get("/api/v1/mcp/health")["services"][name]

    def until_ready(self, name: str, within: float = START_S) -> Any:
        """The server's entry once it is ready."""
        return eventually(lambda: (s := self.server(name))["state"] == "ready" and s, within)

    def finished(self, task_id: str) -> Any:
        """The task once it has ended."""
        ended = {"succeeded", "failed", "cancelled"}
        path = f"/api/v1/tasks/{task_id}"
        return eventually(lambda: (t := self.get(path))["status"] in ended and t, START_S)


def _environ(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""
