"""What a child writes to standard error without end costs us little."""

import asyncio
import os
from contextlib import suppress

import pytest

from adapters.processes.diagnostics import CHUNK, FLOOD_PAUSE_S, Drain
from domain.model.log_tail import LogTail

pytestmark = pytest.mark.anyio

LONG_ENOUGH_S = 0.2


class CountingTail(LogTail):
    """Counts the pieces."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces = 0

    def feed(self, chunk: bytes) -> None:
        self.pieces += 1
        super().feed(chunk)


async def test_a_flood_is_read_at_a_bounded_rate_and_to_its_end() -> None:
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    tail = CountingTail()
    drain = Drain(ours, tail)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while loop.time() < begun + LONG_ENOUGH_S:
        with suppress(BlockingIOError):
            os.write(theirs, b"x\n" * (CHUNK // 2))
        await asyncio.sleep(0)
    assert 2 <= tail.pieces <= (loop.time() - begun) / FLOOD_PAUSE_S + 2
    os.set_blocking(theirs, True)
    drain.finish()
    os.close(theirs)
    assert set(tail.lines()) == {"x"}


async def test_the_end_of_a_flood_is_seen_after_its_pause() -> None:
    ours, theirs = os.pipe()
    tail = CountingTail()
    drain = Drain(ours, tail)
    os.write(theirs, b"y" * CHUNK)
    os.close(theirs)
    for _ in range(1000):
        if drain._fd is None:
            break
        await asyncio.sleep(FLOOD_PAUSE_S)
    assert drain._fd is None
    assert tail.pieces == 1
