"""What a child is given, what it is not, and what a launch costs us."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from adapters.processes.child import ProcessChild
from adapters.processes.environment import child_environment
from adapters.processes.launcher import ProcessLauncher
from domain.model.log_tail import LogTail
from domain.model.servers import Command, Limits, ServerName
from domain.ports.launching import Exit, LaunchFailed, StreamClosed
from tests.processes.programs import DESCRIPTORS, ECHO, python

pytestmark = pytest.mark.anyio

NAME = ServerName("some-server")
LONG = timedelta(seconds=10)
BASE = {"PATH": os.environ["PATH"], "HOME": "/home/someone", "LC_ALL": "C.UTF-8"}


@pytest.fixture
async def launcher() -> AsyncIterator[ProcessLauncher]:
    launcher = ProcessLauncher("test", BASE)
    yield launcher
    await launcher.aclose()


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def output(child: ProcessChild) -> str:
    data = b""
    async with asyncio.timeout(5):
        while chunk := await child.stream.read():
            data += chunk
    await child.end(LONG)
    return data.decode()


async def test_the_environment_is_the_stated_list_the_recipe_and_the_mark(
    launcher: ProcessLauncher,
) -> None:
    recipe = Command(command="cat", args=("/proc/self/environ",), env={"TOKEN": "é=1\n2"})
    child = await launcher.launch(NAME, recipe)
    entries = dict(entry.split("=", 1) for entry in (await output(child)).split("\0")[:-1])
    mark = entries.pop("_SUTAZAI_NODE")
    assert entries == BASE | {"TOKEN": "é=1\n2"}
    assert mark.startswith(f"test/{os.getpid()}.")


def test_only_stated_variables_are_inherited() -> None:
    kept = [
        *("HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LANG", "LC_TIME", "TMPDIR"),
        *("HTTP_PROXY", "no_proxy", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"),
        *("UV_CACHE_DIR", "npm_config_cache", "NPM_CONFIG_CACHE"),
    ]
    left_out = ["SUTAZAI_DATABASE_URL", "OPENAI_API_KEY", "LD_PRELOAD", "LCX", "PATHS", "UVX"]
    base = dict.fromkeys([*kept, *left_out], "x")
    given: Mapping[str, str] = {"SUTAZAI_OF_RECIPE": "y", "_SUTAZAI_NODE": "forged", "PATH": "z"}
    assert child_environment(base, given, "mark") == (
        dict.fromkeys(kept, "x") | {"SUTAZAI_OF_RECIPE": "y", "_SUTAZAI_NODE": "mark", "PATH": "z"}
    )


async def test_a_child_holds_its_three_standard_descriptors_only(
    launcher: ProcessLauncher,
) -> None:
    others = [await launcher.launch(NAME, python(ECHO)) for _ in range(2)]
    child = await launcher.launch(NAME, python(DESCRIPTORS))
    assert await output(child) == "0 1 2"
    for other in others:
        await other.end(LONG)


async def test_a_child_has_default_signals_a_session_and_limits(launcher: ProcessLauncher) -> None:
    status = await output(
        await launcher.launch(NAME, Command(command="cat", args=("/proc/self/status",)))
    )
    fields = dict(line.split(":\t", 1) for line in status.splitlines())
    assert int(fields["SigIgn"], 16) == int(fields["SigBlk"], 16) == 0
    assert fields["NSsid"] == fields["NSpgid"] == fields["Pid"]
    limits = await output(
        await launcher.launch(
            NAME, Command(command="cat", args=("/proc/self/limits",)), Limits(open_files=100)
        )
    )
    rows = {line[:25].strip(): line[25:].split()[:2] for line in limits.splitlines()}
    assert rows["Max core file size"] == ["0", "0"]
    assert rows["Max open files"] == ["100", "100"]


async def test_the_command_is_found_on_the_childs_own_path_in_its_own_folder(
    launcher: ProcessLauncher, tmp_path: Path
) -> None:
    program = tmp_path / "own-program"
    program.write_text("#!/bin/sh\npwd\n")
    program.chmod(0o755)
    for recipe in (
        Command(command="own-program", env={"PATH": f"/nowhere:{tmp_path}"}, cwd=str(tmp_path)),
        Command(command="./own-program", cwd=str(tmp_path)),
    ):
        child = await launcher.launch(NAME, recipe)
        assert await output(child) == f"{tmp_path}\n"
        assert await child.wait() == Exit(code=0)


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        (Command(command="no-such-command"), "'no-such-command': no such command"),
        (Command(command="/no/such/file"), "'/no/such/file': no such command"),
        (Command(command="/etc/passwd"), "'/etc/passwd': it may not be executed"),
        (Command(command="cat", cwd="/no/such/folder"), "'cat': no such folder"),
        (Command(command="cat", cwd="/etc/passwd"), "'cat': its folder is not a folder"),
        (Command(command="cat", env={"PATH": "/nowhere"}), "'cat': no such command"),
        (Command(command=""), "its recipe holds what no process can take"),
        (Command(command="cat", args=("a\0b",)), "its recipe holds what no process can take"),
        (Command(command="cat", env={"A=B": "c"}), "its recipe holds what no process can take"),
        (Command(command="cat", env={"A": "\ud800"}), "its recipe holds what no process can take"),
        (Command(command="cat", args=("x" * 200_000,)), "'cat': Argument list too long"),
    ],
)
async def test_a_failed_launch_names_the_command_and_the_reason(
    launcher: ProcessLauncher, recipe: Command, reason: str
) -> None:
    with pytest.raises(LaunchFailed) as failure:
        await launcher.launch(NAME, recipe)
    assert failure.value.message.startswith("some-server was not started: ")
    assert failure.value.message.endswith(f"{reason}.")
    assert launcher.running == 0


async def test_nothing_is_launched_after_the_end(launcher: ProcessLauncher) -> None:
    await launcher.aclose()
    with pytest.raises(LaunchFailed, match="stopping"):
        await launcher.launch(NAME, python(ECHO))


async def test_a_write_fails_when_the_living_server_has_closed_its_input(
    launcher: ProcessLauncher,
) -> None:
    child = await launcher.launch(
        NAME, python("os.read(0, 1); os.close(0); os.write(1, b'closed'); signal.pause()")
    )
    with pytest.raises(StreamClosed):
        async with asyncio.timeout(5):
            await child.stream.write(b"x" * 1_000_000)
    with pytest.raises(StreamClosed):
        await child.stream.write(b"x")
    assert await child.stream.read() == b"closed"
    await child.end(timedelta(0))


async def test_launching_and_ending_leaks_no_descriptor(launcher: ProcessLauncher) -> None:
    await (await launcher.launch(NAME, python(ECHO))).end(LONG)
    before = open_descriptors()
    for _ in range(5):
        children = await asyncio.gather(*(launcher.launch(NAME, python(ECHO)) for _ in range(10)))
        await asyncio.gather(*(child.end(LONG) for child in children))
        with pytest.raises(LaunchFailed):
            await launcher.launch(NAME, Command(command="no-such-command"))
    assert launcher.running == 0
    assert open_descriptors() == before


@pytest.mark.parametrize("size", [1, 3, 7, 10_000])
def test_a_tail_is_the_same_however_the_text_is_cut(size: int) -> None:
    text = "".join(f"línea {number}\r\n" for number in range(500)) + "é" * 3_000 + "\nlast"
    data = text.encode()
    tail = LogTail()
    for start in range(0, len(data), size):
        tail.feed(data[start : start + size])
    expected = [*(f"línea {number}" for number in range(500)), "é" * 2_000, "last"]
    assert tail.lines() == tuple(expected[-200:])
