"""However the system ends, nothing of it is left, and nothing of another's is touched."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.system.conftest import Make
from tests.system.running import System, eventually

STUBBORN = str(Path(__file__).parents[1] / "fixtures" / "stubborn_launcher.py")
TREE = {"stubborn": {"command": sys.executable, "args": ["-I", "-S", STUBBORN]}}
LEFT_S = 3.0


@pytest.fixture
def system(make: Make) -> System:
    """A system whose one server has a grandchild that ignores SIGTERM and its input's end."""
    system = make(TREE).start()
    system.until_ready("sutazai")
    # Two guards, two servers, and the grandchild in a session of its own.
    eventually(lambda: len(system.marked()) >= 5)
    return system


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_process_of_ours_is_left(system: System, number: int) -> None:
    code = system.end(number)
    assert code == (-number if number == signal.SIGKILL else 0)
    eventually(lambda: not system.marked(), LEFT_S)


def test_a_polite_end_before_the_system_is_up_is_no_failure(make: Make) -> None:
    system = make(TREE)
    system.process = subprocess.Popen(system.command(), env=system.environment)
    status = Path(f"/proc/{system.process.pid}/status")
    term = 1 << (signal.SIGTERM - 1)

    def listens() -> bool:
        fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines())
        return bool(int(fields["SigCgt"], 16) & term)

    eventually(listens)
    assert system.end() == 0


def test_two_installations_do_not_touch_each_other(system: System, make: Make) -> None:
    other = make(TREE).start()
    eventually(lambda: len(other.marked()) >= 5)
    theirs = set(other.marked())
    system.end(signal.SIGKILL)
    eventually(lambda: not system.marked(), LEFT_S)
    system.start()
    system.end()
    eventually(lambda: not system.marked(), LEFT_S)
    assert set(other.marked()) == theirs
    other.end()


def test_five_open_streams_do_not_hold_the_end(make: Make) -> None:
    system = make(drain_s="3").start()
    system.until_ready("sutazai")
    slow = {"server": "sutazai", "tool": "wait", "arguments": {"seconds": 60}}
    task = system.post("/api/v1/tasks", {"task_type": "tool", "payload": slow}, status=201)
    first: list[str] = []
    last: list[str] = []

    def listen() -> None:
        url = f"http://127.0.0.1:{system.port}/api/v1/tasks/{task['task_id']}/events"
        with httpx.stream("GET", url, timeout=30) as stream:
            events = (line for line in stream.iter_lines() if line.startswith("event:"))
            first.append(next(events))
            last.append(list(events)[-1])

    listeners = [threading.Thread(target=listen) for _ in range(5)]
    for listener in listeners:
        listener.start()
    eventually(lambda: system.get(f"/api/v1/tasks/{task['task_id']}")["status"] == "running")
    eventually(lambda: len(first) == 5)
    begun = time.monotonic()
    assert system.end() == 0
    assert time.monotonic() - begun < 3 + 2
    for listener in listeners:
        listener.join(5)
    assert last == ["event: shutdown"] * 5


def test_a_second_system_on_the_folder_or_the_port_says_who_holds_it(system: System) -> None:
    assert system.process is not None
    for another in ("--port=0", f"--data-dir={system.data}-2"):
        second = subprocess.run(
            [*system.command(), another],
            capture_output=True,
            env=system.environment,
            timeout=30,
            check=False,
        )
        assert second.returncode == 1
        assert f"pid {system.process.pid}" in second.stderr.decode()
    assert system.get("/health")["services"]["database"] == "healthy"
