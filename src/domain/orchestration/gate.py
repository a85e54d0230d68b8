"""How many calls may be under way at once, who waits, and who is turned away."""

import asyncio
from collections import deque
from datetime import timedelta

from domain.errors import Unavailable

RETRY_AFTER = timedelta(seconds=1)
# A full queue is not a plan: the caller may ask again when some of it has been served.


class Busy(Unavailable):
    """Too many calls wait already; nothing was sent."""


class WaitedTooLong(Unavailable):
    """The deadline passed while the call waited for its turn; nothing was sent."""


class Gate:
    """At most `most` inside; at most `queue` wait, first come, first served.

    Entering costs no task switch while there is room.
    """

    def __init__(self, name: str, most: int, queue: int) -> None:
        self._name = name
        self._most = most
        self._queue = queue
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.inside = 0

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return sum(not turn.done() for turn in self._waiting)

    @property
    def load(self) -> int:
        """How many are inside or wait for their turn."""
        return self.inside + self.waiting

    @property
    def has_room(self) -> bool:
        """Whether the next one would enter at once."""
        return self.inside < self._most and not self._waiting

    def try_enter(self) -> bool:
        """Enter where there is room and nobody waits."""
        if self.inside >= self._most or self._waiting:
            return False
        self.inside += 1
        return True

    async def enter(self, wait_s: float) -> None:
        """Enter, waiting for at most `wait_s`. Raises Busy, WaitedTooLong."""
        if self.try_enter():
            return
        if self.waiting >= self._queue:
            raise Busy(
                f"{self._name} is busy: {self.inside} calls are under way and {self._queue} wait.",
                retry_after=RETRY_AFTER,
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(wait_s):
                await turn
        except BaseException as error:
            self._give_up(turn)
            if isinstance(error, TimeoutError):
                raise WaitedTooLong(
                    f"{self._name} was busy until the deadline.", retry_after=RETRY_AFTER
                ) from None
            raise

    def leave(self) -> None:
        """Make room; the place goes to the first who waits."""
        self.inside -= 1
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                self.inside += 1
                turn.set_result(None)
                return

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        if turn.done() and not turn.cancelled():
            self.leave()  # the turn came in the same moment: pass it on
        else:
            turn.cancel()
            if turn in self._waiting:
                self._waiting.remove(turn)
