"""The systems under load, each a process of its own, started and ended here."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

CALL = "/api/v1/mcp/servers/echo/tools/echo"
CONNECTIONS = (1, 8, 32)
TODAY = Path(sys.executable).with_name("sutazai")
ECHO = Path(__file__).parents[1] / "fixtures" / "mcp_servers" / "echo.py"
MCPO = [
    "uv",
    "tool",
    "run",
    "--from",
    "mcpo==0.0.20",
    "--with",
    "mcp<2",
    "--with",
    "fastapi<0.116",
    "mcpo",
]
# With newer releases of either this one of mcpo does not start.
READY_S = 60.0


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    command: list[str], probe: str, port: int, settings: Mapping[str, str] | None = None
) -> Iterator[tuple[int, float]]:
    """A process whose `probe` path answers 200: its pid and the seconds that took."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | (settings or {}),
        start_new_session=True,
    )
    try:
        while not _answers(f"http://127.0.0.1:{port}{probe}"):
            if process.poll() is not None or time.perf_counter() - begun > READY_S:
                raise RuntimeError(f"{command[0]} did not come up")
            time.sleep(0.005)
        yield process.pid, time.perf_counter() - begun
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - http by its caller
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def sutazai(
    folder: Path, program: Path = TODAY, **settings: str
) -> Iterator[tuple[int, int, float]]:
    """This system with the echo server: its port, its pid and the seconds until ready."""
    config = folder / "mcp.json"
    entry = {"command": sys.executable, "args": ["-I", "-S", str(ECHO)]}
    config.write_text(json.dumps({"mcpServers": {"echo": entry}}), "utf-8")
    port = free_port()
    command = [
        str(program),
        "serve",
        f"--port={port}",
        f"--data-dir={folder / 'data'}",
        f"--mcp-config={config}",
    ]
    named = {f"SUTAZAI_{name.upper()}": text for name, text in settings.items()}
    with running(command, "/readyz", port, named) as (pid, seconds):
        yield port, pid, seconds


@contextmanager
def mcpo() -> Iterator[int]:
    """The same echo server behind mcpo: its port."""
    port = free_port()
    command = [*MCPO, "--host", "127.0.0.1", "--port", str(port), "--"]
    command += [sys.executable, "-I", "-S", str(ECHO)]
    with running(command, "/openapi.json", port):
        yield port


def resident_mb(pid: int) -> float:
    """Resident memory of one process, its children not counted."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def bare_import_s() -> float:
    """How long a process takes that only imports the three large libraries."""
    begun = time.perf_counter()
    code = "import litestar, sqlalchemy, granian.server.embed"
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - begun
