"""Nothing that a server started outlives it, however the end comes."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from select import poll
from signal import SIGKILL, SIGSTOP
from uuid import uuid4

import pytest

from adapters.processes.child import ProcessChild
from adapters.processes.environment import MARK
from adapters.processes.launcher import ProcessLauncher
from adapters.processes.leftovers import marked
from domain.model.servers import ServerName
from domain.ports.launching import Exit
from tests.processes.programs import ECHO, ESCAPING, LEAVING_ONE_BEHIND, STUBBORN, python

pytestmark = pytest.mark.anyio

NAME = ServerName("some-server")
LONG = timedelta(seconds=10)
SHORT = timedelta(milliseconds=50)
ROOT = Path(__file__).parents[2]


def marked_by(installation: str) -> list[int]:
    return list(marked(lambda mark: mark.startswith(f"{installation}/")))


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.fixture
def installation() -> Iterator[str]:
    name = f"test-{uuid4().hex}"
    yield name
    left = marked_by(name)
    for pid in left:
        os.kill(pid, SIGKILL)
    assert not left


@pytest.fixture
async def launcher(installation: str) -> AsyncIterator[ProcessLauncher]:
    launcher = ProcessLauncher(installation, os.environ)
    yield launcher
    await launcher.aclose()


async def first_line(child: ProcessChild) -> int:
    async with asyncio.timeout(5):
        return int(await child.stream.read())


def await_ends(handles: list[int], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    for handle in handles:
        ended = poll()
        ended.register(handle)
        assert ended.poll(max(0.0, deadline - time.monotonic()) * 1000), "a process lives on"
        os.close(handle)


async def test_a_killed_server_is_seen_at_once(launcher: ProcessLauncher) -> None:
    child = await launcher.launch(NAME, python(ECHO))
    assert child.pid is not None
    since = time.monotonic()
    os.kill(child.pid, SIGKILL)
    assert await child.wait() == Exit(signal=SIGKILL)
    assert time.monotonic() - since < 0.5
    await child.end(LONG)


async def test_an_escaped_descendant_does_not_delay_the_exit_and_does_not_outlive_it(
    launcher: ProcessLauncher, installation: str
) -> None:
    child = await launcher.launch(NAME, python(LEAVING_ONE_BEHIND))
    descendant = await first_line(child)
    assert descendant in marked_by(installation)
    await child.stream.write(b"go")
    async with asyncio.timeout(2):
        assert await child.wait() == Exit(code=0)
        assert await child.stream.read() == b""
    await child.end(LONG)
    assert not marked_by(installation)


async def test_the_ladder_reaches_who_left_the_session_and_ignores_all(
    launcher: ProcessLauncher, installation: str
) -> None:
    child = await launcher.launch(NAME, python(ESCAPING))
    descendant = await first_line(child)
    assert descendant in marked_by(installation)
    async with asyncio.timeout(2):
        await child.end(SHORT)
    assert not marked_by(installation)


async def test_a_killed_guard_takes_the_whole_tree_with_it(
    launcher: ProcessLauncher, installation: str
) -> None:
    child = await launcher.launch(NAME, python(ESCAPING))
    await first_line(child)
    child._process.kill()
    async with asyncio.timeout(2):
        assert await child.wait() == Exit()
        assert await child.stream.read() == b""
    assert not marked_by(installation)
    assert await child.end(LONG) == Exit()
    assert launcher.running == 0


async def test_a_guard_that_does_not_answer_is_ended_itself(
    launcher: ProcessLauncher, installation: str
) -> None:
    child = await launcher.launch(NAME, python(STUBBORN))
    os.kill(child._process.pid, SIGSTOP)
    async with asyncio.timeout(6):
        await child.end(SHORT)
    assert not marked_by(installation)


async def test_closing_the_launcher_ends_all_children(
    launcher: ProcessLauncher, installation: str
) -> None:
    children = [await launcher.launch(NAME, python(STUBBORN)) for _ in range(3)]
    assert launcher.running == 3
    async with asyncio.timeout(5):
        await launcher.aclose(SHORT)
        assert {await child.wait() for child in children} == {Exit(signal=SIGKILL)}
    assert launcher.running == 0
    assert not marked_by(installation)


async def test_a_cancelled_launch_leaves_nothing(
    launcher: ProcessLauncher, installation: str
) -> None:
    launching = asyncio.create_task(launcher.launch(NAME, python(STUBBORN)))
    await asyncio.sleep(0)
    launching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await launching
    assert launcher.running == 0
    assert not marked_by(installation)


@pytest.fixture
def starter(installation: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that uses a launcher, with an escaped descendant up."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.processes.starter", installation],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    with process.stdout as output:
        assert int(output.readline()) in marked_by(installation)
    handles = [os.pidfd_open(pid) for pid in marked_by(installation)]
    assert len(handles) == 3, "the guard, the server and the escaped one"
    yield process
    process.kill()
    process.wait()
    await_ends(handles, within_s=3)


def test_all_is_gone_soon_after_this_system_is_killed(
    installation: str, starter: subprocess.Popen[bytes]
) -> None:
    handles = [os.pidfd_open(pid) for pid in marked_by(installation)]
    starter.kill()
    starter.wait()
    await_ends(handles, within_s=3)
    assert not marked_by(installation)


async def test_a_sweep_ends_what_a_killed_life_left_and_nothing_else(
    installation: str, starter: subprocess.Popen[bytes]
) -> None:
    # Stopped, it cannot clean up after its guard: so the escaped one is left.
    starter.send_signal(SIGSTOP)
    guard = next(pid for pid in marked_by(installation) if parent_of(pid) == starter.pid)
    handle = os.pidfd_open(guard)
    os.kill(guard, SIGKILL)
    await_ends([handle], within_s=3)
    handle = os.pidfd_open(starter.pid)
    starter.kill()
    await_ends([handle], within_s=3)  # not waited for: a dead process that still has its entry
    mine = ProcessLauncher(installation, os.environ)
    other = ProcessLauncher(f"{installation}-other", os.environ)
    living = [await one.launch(NAME, python(ECHO)) for one in (mine, other)]
    assert await other.sweep() == 0
    assert await mine.sweep() == 1
    assert await mine.sweep() == 0
    for child in living:
        await child.stream.write(b"alive")
        assert await child.stream.read() == b"alive"
    await mine.aclose()
    await other.aclose()


async def test_a_sweep_leaves_a_living_neighbour_of_the_same_installation(
    installation: str, starter: subprocess.Popen[bytes], launcher: ProcessLauncher
) -> None:
    before = marked_by(installation)
    assert await launcher.sweep() == 0
    assert marked_by(installation) == before


@pytest.fixture(params=["", "1", "1.2", "1.2.x", "1.2.3.4", "-1.2.3"])
def stranger(
    request: pytest.FixtureRequest, installation: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A process whose mark only resembles one of this installation's."""
    mark = f"{installation}/{request.param}"
    process = subprocess.Popen(["sleep", "60"], env={"PATH": os.environ["PATH"], MARK: mark})
    yield process
    process.kill()
    process.wait()


async def test_a_sweep_leaves_what_only_resembles_our_mark(
    stranger: subprocess.Popen[bytes], launcher: ProcessLauncher
) -> None:
    assert await launcher.sweep() == 0
    assert stranger.poll() is None
