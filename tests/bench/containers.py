"""What a container costs: the same echo server as a child process and in one, call by call.

Run as `python -m tests.bench.containers`, as root where Docker's packages are installed.
"""

import statistics
import sys
import tempfile
from pathlib import Path

import httpx
import uvloop

from tests.bench.load import Measured, post_load
from tests.bench.systems import ECHO, sutazai
from tests.real.engine import Engine
from tests.real.python_image import CHANGES, INTERPRETER, PYTHON, python_tar

ROUNDS = 5
SECONDS = 3.0
MOST_MORE_MS = 1.5
# What a call to a container may cost beyond one to a child process.


def main() -> int:
    """Print both medians; 1 where the bound is broken."""
    engine = Engine()
    try:
        engine.start()
        engine.bring_in(PYTHON, python_tar(), CHANGES)
        with tempfile.TemporaryDirectory() as name:
            rounds = _rounds(Path(name), engine)
    finally:
        engine.close()
    print(f"{'1 connection':14}{'calls/s':>10}{'p50 ms':>9}{'p99 ms':>9}")
    for kind in ("child", "container"):
        rate = statistics.median(one[kind].calls_per_s for one in rounds)
        p50 = statistics.median(one[kind].p50_ms for one in rounds)
        p99 = statistics.median(one[kind].p99_ms for one in rounds)
        print(f"{kind:14}{rate:10.0f}{p50:9.2f}{p99:9.2f}")
    more = statistics.median(one["container"].p50_ms - one["child"].p50_ms for one in rounds)
    print(f"a call to a container costs {more:.2f} ms more, at most {MOST_MORE_MS} are allowed")
    return int(more > MOST_MORE_MS)


def _rounds(folder: Path, engine: Engine) -> list[dict[str, Measured]]:
    images = "sutazai-test/*"
    with sutazai(folder, docker_host=engine.host, allowed_images=images) as (port, _, _):
        _deploy(port)
        servers = {"child": "echo", "container": "boxed"}
        return [
            {kind: _load(port, server) for kind, server in servers.items()} for _ in range(ROUNDS)
        ]


def _deploy(port: int) -> None:
    """The same program in a container, up when its first call has been answered."""
    program = [str(INTERPRETER), "-I", "-S", "-c", ECHO.read_text("utf-8")]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
        body = {"name": "boxed", "image": PYTHON, "command": program}
        client.post("/api/v1/mcp/deploy", json=body).raise_for_status()
        call = "/api/v1/mcp/servers/boxed/tools/echo"
        client.post(call, json={"text": "x"}).raise_for_status()


def _load(port: int, server: str) -> Measured:
    path = f"/api/v1/mcp/servers/{server}/tools/echo"
    return uvloop.run(post_load(port, path, 1, SECONDS))


if __name__ == "__main__":
    sys.exit(main())
