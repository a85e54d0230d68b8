"""Both launchers keep the port's contract."""

import os
from collections.abc import AsyncIterator, Mapping
from signal import SIGSEGV
from typing import Any

import anyio
import pytest

from adapters.inmemory.launcher import MemoryLauncher, Peer, Program
from adapters.processes.launcher import ProcessLauncher
from domain.model.servers import Command
from domain.ports.launching import Exit, Launcher
from tests.contracts.launching import NAME, LaunchingContract, Recipe
from tests.processes import programs

pytestmark = pytest.mark.anyio


class TestProcessLauncher(LaunchingContract):
    @pytest.fixture
    async def launcher(self) -> AsyncIterator[Launcher[Any]]:
        launcher = ProcessLauncher("contract", os.environ)
        yield launcher
        await launcher.aclose()
        assert launcher.running == 0

    @pytest.fixture
    def recipe(self) -> Recipe:
        return lambda role: programs.python(getattr(programs, role.upper()))


async def echo(peer: Peer) -> int:
    while data := await peer.read():
        await peer.write(data)
    return 0


async def leaver(peer: Peer) -> int:
    await peer.write(b"bye")
    return 3


async def stayer(peer: Peer) -> int:
    await peer.write(b"ready")
    await anyio.sleep_forever()
    return 0


async def stubborn(peer: Peer) -> int:
    peer.on_terminate = lambda: None
    return await stayer(peer)


async def noisy(peer: Peer) -> int:
    for number in range(5000):
        peer.log(f"line {number}")
    peer.log("é" * 400_000)
    await peer.write(b"done")
    while await peer.read():
        pass
    return 0


ROLES: Mapping[str, Program] = {
    "echo": echo,
    "leaver": leaver,
    "stayer": stayer,
    "stubborn": stubborn,
    "noisy": noisy,
}


class TestMemoryLauncher(LaunchingContract):
    @pytest.fixture
    async def launcher(self) -> AsyncIterator[Launcher[Any]]:
        launcher = MemoryLauncher(ROLES)
        yield launcher
        await launcher.aclose()

    @pytest.fixture
    def recipe(self) -> Recipe:
        return lambda role: Command(command=role)

    async def test_a_program_that_raises_has_crashed(self) -> None:
        async def broken(peer: Peer) -> int:
            raise ValueError("a fault")

        launcher = MemoryLauncher({"broken": broken})
        child = await launcher.launch(NAME, Command(command="broken"))
        assert await child.wait() == Exit(code=1)
        assert child.log_tail() == ("ValueError: a fault",)

    async def test_a_killed_program_is_seen_by_its_signal(self) -> None:
        launcher = MemoryLauncher({"stayer": stayer})
        child = await launcher.launch(NAME, Command(command="stayer"))
        child.kill(SIGSEGV)
        assert await child.wait() == Exit(signal=SIGSEGV)
