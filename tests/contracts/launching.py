"""What every launcher does, whatever it starts.

A binding gives the fixtures `launcher` and `recipe`; the latter names the command of each role:
`echo` sends back what it gets until its input ends; `leaver` sends `bye` and exits with 3;
`stayer` ignores the end of its input; `stubborn` ignores polite signals too; `noisy` says 5,000
lines and a long unfinished one on standard error, sends `done`, and stays until its input ends.
`stayer` and `stubborn` send `ready` once they ignore what they ignore.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from signal import SIGKILL, SIGTERM
from typing import Any

import pytest

from domain.model.servers import Command, ServerName
from domain.ports.launching import ByteStream, Exit, Launcher, LaunchFailed, StreamClosed

NAME = ServerName("some-server")
LONG = timedelta(seconds=10)
SHORT = timedelta(milliseconds=100)
MIB = 1_048_576

Recipe = Callable[[str], Any]
# A launcher takes recipes of one kind: commands, or containers.


async def read_exactly(stream: ByteStream, size: int) -> bytes:
    data = b""
    async with asyncio.timeout(10):
        while len(data) < size:
            chunk = await stream.read()
            assert chunk, "the stream ended early"
            data += chunk
    assert len(data) == size
    return data


class LaunchingContract:
    """Bind it by a subclass with the two fixtures.

    One whose recipes are no commands brings `unknown` too: a program that is nowhere, with the
    secret `s3cret` in its environment.
    """

    @pytest.fixture
    def unknown(self) -> Any:
        return Command(command="no-such-command", env={"TOKEN": "s3cret"})

    async def test_what_is_written_comes_back(
        self, launcher: Launcher[Any], recipe: Recipe
    ) -> None:
        child = await launcher.launch(NAME, recipe("echo"))
        await child.stream.write(b"one\n")
        await child.stream.write(b"two\n")
        assert await read_exactly(child.stream, 8) == b"one\ntwo\n"
        assert await child.end(LONG) == Exit(code=0)

    async def test_ten_megabytes_pass_both_ways_to_a_slow_reader(
        self, launcher: Launcher[Any], recipe: Recipe
    ) -> None:
        child = await launcher.launch(NAME, recipe("echo"))
        block = bytes(range(256)) * 256
        accepted = 0

        async def write() -> None:
            nonlocal accepted
            for _ in range(160):
                await child.stream.write(block)
                accepted += len(block)

        writing = asyncio.create_task(write())
        done, _ = await asyncio.wait({writing}, timeout=0.3)
        assert not done, "nobody reads, so the writer must come to wait"
        assert accepted < 4 * MIB
        received = bytearray()
        async with asyncio.timeout(20):
            while len(received) < 160 * len(block):
                chunk = await child.stream.read()
                assert 0 < len(chunk) <= MIB
                received += chunk
        await writing
        assert received == block * 160
        await child.end(LONG)

    async def test_writes_of_many_tasks_stay_whole(
        self, launcher: Launcher[Any], recipe: Recipe
    ) -> None:
        child = await launcher.launch(NAME, recipe("echo"))
        lines = [bytes([65 + number]) * 200_000 + b"\n" for number in range(8)]
        writing = asyncio.gather(*(child.stream.write(line) for line in lines))
        data = await read_exactly(child.stream, sum(map(len, lines)))
        await writing
        assert data.splitlines(keepends=True) == lines
        await child.end(LONG)

    async def test_a_cancelled_read_loses_nothing(
        self, launcher: Launcher[Any], recipe: Recipe
    ) -> None:
        child = await launcher.launch(NAME, recipe("echo"))
        reading = asyncio.create_task(child.stream.read())
        await asyncio.sleep(0)
        reading.cancel()
        await child.stream.write(b"kept")
        assert await read_exactly(child.stream, 4) == b"kept"
        await child.end(LONG)

    async def test_cancelled_writes_are_sent_whole_or_not_at_all(
        self, launcher: Launcher[Any], recipe: Recipe
    ) -> None:
        child = await launcher.launch(NAME, recipe("echo"))
        lines = [bytes([65 + number]) * 500_000 + b"\n" for number in range(12)]
        writes = [asyncio.create_task(child.stream.write(line)) for line in lines]
        await asyncio.wait(writes, timeout=0.3)
        assert not all(write.done() for write in writes)
        for write in writes:
            write.cancel()
        await asyncio.wait(writes)
        last = asyncio.create_task(child.stream.write(b"last\n"))
        data = b""
        async with asyncio.timeout(10):
            while not data.endswith(b"last\n"):
                data += await child.stream.read()
        await last
        *received, end = data.splitlines(keepends=True)
        assert end == b"last\n"
        assert received == lines[: len(received)]
        assert len(received) < len(lines)
        await child.end(LONG)

    async def test_output_is_still_readable_after_the_exit(
        self, launcher: Launcher[Any], recipe: Recipe
    ) -> None:
        child = await launcher.launch(NAME, recipe("leaver"))
        async with asyncio.timeout(5):
            assert set(await asyncio.gather(child.wait(), child.wait())) == {Exit(code=3)}
            assert await child.stream.read() == b"bye"
            assert await child.stream.read() == b""
        assert await child.wait() == await child.end(LONG) == Exit(code=3)

    async def test_a_write_to_a_gone_server_says_so(
        self, launcher: Launcher[Any], recipe: Recipe
    ) -> None:
        child = await launcher.launch(NAME, recipe("leaver"))
        await child.end(LONG)
        with pytest.raises(StreamClosed):
            await child.stream.write(b"hello")

    async def test_a_held_up_write_fails_when_the_server_goes(
        self, launcher: Launcher[Any], recipe: Recipe
    ) -> None:
        child = await launcher.launch(NAME, recipe("stayer"))

        async def write_for_ever() -> None:
            while True:
                await child.stream.write(b"x" * 65_536)

        writing = asyncio.create_task(write_for_ever())
        await asyncio.wait({writing}, timeout=0.1)
        await child.end(SHORT)
        with pytest.raises(StreamClosed):
            await asyncio.wait_for(writing, 5)

    async def test_the_polite_signal_ends_who_ignores_the_end_of_input(
        self, launcher: Launcher[Any], recipe: Recipe
    ) -> None:
        child = await launcher.launch(NAME, recipe("stayer"))
        await read_exactly(child.stream, 5)
        assert await child.end(SHORT) == Exit(signal=SIGTERM)

    async def test_the_forced_signal_ends_who_ignores_the_polite_one(
        self, launcher: Launcher[Any], recipe: Recipe
    ) -> None:
        child = await launcher.launch(NAME, recipe("stubborn"))
        await read_exactly(child.stream, 5)
        ended = await asyncio.gather(child.end(SHORT), child.end(LONG), child.wait())
        assert set(ended) == {Exit(signal=SIGKILL)}
        assert await child.stream.read() == b""

    async def test_a_cancelled_end_still_ends_the_server(
        self, launcher: Launcher[Any], recipe: Recipe
    ) -> None:
        child = await launcher.launch(NAME, recipe("stubborn"))
        await read_exactly(child.stream, 5)
        ending = asyncio.create_task(child.end(SHORT))
        await asyncio.sleep(0)
        ending.cancel()
        async with asyncio.timeout(5):
            assert await child.wait() == Exit(signal=SIGKILL)

    async def test_a_cancelled_wait_disturbs_nobody(
        self, launcher: Launcher[Any], recipe: Recipe
    ) -> None:
        child = await launcher.launch(NAME, recipe("echo"))
        first, second = (asyncio.create_task(child.wait()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await child.end(LONG)
        assert await second == Exit(code=0)

    async def test_of_a_flood_of_diagnostics_the_bounded_end_is_kept(
        self, launcher: Launcher[Any], recipe: Recipe
    ) -> None:
        child = await launcher.launch(NAME, recipe("noisy"))
        await read_exactly(child.stream, 4)
        await child.end(LONG)
        tail = child.log_tail()
        assert len(tail) == 200
        assert tail[-2] == "line 4999"
        assert tail[-1] == "é" * 2_000

    async def test_an_unknown_command_is_named(self, launcher: Launcher[Any], unknown: Any) -> None:
        with pytest.raises(LaunchFailed, match="no-such-command") as failure:
            await launcher.launch(NAME, unknown)
        assert "s3cret" not in failure.value.message

    async def test_with_nothing_left_behind_a_sweep_finds_nothing(
        self, launcher: Launcher[Any], recipe: Recipe
    ) -> None:
        child = await launcher.launch(NAME, recipe("echo"))
        assert await launcher.sweep() == 0
        await child.stream.write(b"alive")
        assert await read_exactly(child.stream, 5) == b"alive"
        await child.end(LONG)
