"""Upkeep: chores of a process that no caller waits for, each done again and again."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta

import msgspec

from domain.errors import Failure
from domain.ports.system import Chance

logger = logging.getLogger(__name__)

LONGEST_ACT_S = 30.0
# A chore works in small batches; one that takes longer than this hangs.


class Chore(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of upkeep; `name` says what is done, for the log.

    `act` does what is due now, in transactions of its own. Several processes may do the same
    chore at the same moment, and one that is cancelled in the middle loses nothing.
    """

    name: str
    act: Callable[[], Awaitable[object]]
    every: timedelta


class Upkeep:
    """Does each chore as often as it says. A chore that fails or hangs holds up no other."""

    def __init__(self, chores: Iterable[Chore], chance: Chance) -> None:
        self._chores = tuple(chores)
        self._chance = chance
        self._loops: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin; each chore is done for the first time within its interval."""
        self._loops = [
            asyncio.create_task(self._again_and_again(chore), name=f"upkeep: {chore.name}")
            for chore in self._chores
        ]

    async def stop(self) -> None:
        """End at once, also in the middle of a chore; may be repeated."""
        for loop in self._loops:
            loop.cancel()
        if self._loops:
            await asyncio.wait(self._loops)

    async def _again_and_again(self, chore: Chore) -> None:
        every_s = chore.every.total_seconds()
        # Many processes that start together do not all work in the same moment.
        await asyncio.sleep(every_s * self._chance.fraction())
        failing = False
        while True:
            fault = await _fault_of(chore, quiet=failing)
            if failing and not fault:
                logger.info("upkeep: %s: it works again", chore.name)
            failing = fault
            await asyncio.sleep(every_s)


async def _fault_of(chore: Chore, *, quiet: bool) -> bool:
    """Do the chore once; whether it failed. Of failures in a row the first is logged."""
    try:
        async with asyncio.timeout(LONGEST_ACT_S):
            await chore.act()
    except Failure as failure:
        if not quiet:
            logger.warning("upkeep: %s: %s", chore.name, failure.message)
    except TimeoutError:
        if not quiet:
            logger.warning("upkeep: %s: not done within %g s", chore.name, LONGEST_ACT_S)
    except Exception:
        if not quiet:
            logger.exception("upkeep: %s broke", chore.name)
    else:
        return False
    return True
