"""Upkeep goes on, whatever becomes of a chore."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from adapters.inmemory.system import SeededChance
from domain.errors import Unavailable
from domain.tasks import upkeep
from domain.tasks.upkeep import Chore, Upkeep

pytestmark = pytest.mark.anyio

TICK = timedelta(milliseconds=1)


class Acts:
    """An act that goes as its script says, one entry a time, and well from then on."""

    def __init__(self, *script: Exception | Callable[[], Awaitable[object]]) -> None:
        self._script = list(script)
        self._done = asyncio.Semaphore(0)

    async def __call__(self) -> None:
        step = self._script.pop(0) if self._script else None
        self._done.release()
        if isinstance(step, Exception):
            raise step
        if step is not None:
            await step()

    async def times(self, number: int) -> None:
        """Return once it was begun so many times more."""
        async with asyncio.timeout(5):
            for _ in range(number):
                await self._done.acquire()


async def _forever() -> None:
    await asyncio.Event().wait()


def _chore(act: Acts) -> Chore:
    return Chore(name="sweeping", act=act, every=TICK)


async def test_every_chore_is_done_again_and_again_until_the_stop() -> None:
    acts = Acts(), Acts()
    work = Upkeep(map(_chore, acts), SeededChance(1))
    work.start()
    for act in acts:
        await act.times(3)
    await work.stop()
    await work.stop()
    assert all(loop.done() for loop in work._loops)


async def test_a_failure_is_told_once_and_its_end_as_well(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    away = Unavailable("The store is away.")
    act = Acts(away, away, away)
    work = Upkeep([_chore(act)], SeededChance(1))
    work.start()
    await act.times(6)
    await work.stop()
    assert [record.message for record in caplog.records] == [
        "upkeep: sweeping: The store is away.",
        "upkeep: sweeping: it works again",
    ]


async def test_a_bug_in_a_chore_ends_no_loop(caplog: pytest.LogCaptureFixture) -> None:
    act = Acts(KeyError("x"), KeyError("x"))
    work = Upkeep([_chore(act)], SeededChance(1))
    work.start()
    await act.times(4)
    await work.stop()
    assert [record.message for record in caplog.records] == ["upkeep: sweeping broke"]


async def test_a_chore_that_hangs_is_ended_and_holds_up_no_other(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "LONGEST_ACT_S", 0.02)
    hanging, other = Acts(_forever), Acts()
    work = Upkeep([_chore(hanging), _chore(other)], SeededChance(1))
    work.start()
    await other.times(3)
    await hanging.times(2)
    await work.stop()
    assert [record.message for record in caplog.records] == [
        "upkeep: sweeping: not done within 0.02 s"
    ]


async def test_a_stop_waits_for_no_chore() -> None:
    hanging = Acts(_forever)
    work = Upkeep([_chore(hanging)], SeededChance(1))
    work.start()
    await hanging.times(1)
    async with asyncio.timeout(5):
        await work.stop()
