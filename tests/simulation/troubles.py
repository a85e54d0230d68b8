"""What befell whom and when: the excuses that rules accept."""

import asyncio
from bisect import bisect_left, bisect_right
from collections import defaultdict
from datetime import datetime

from adapters.inmemory.system import STARTED
from domain.model.tasks import WorkerId
from tests.simulation.loop import HERE

HEALED = float("inf")


class TrueClock:
    """The time of the run, or one that is wrong by a constant."""

    def __init__(self, loop: asyncio.AbstractEventLoop, wrong_by_s: float = 0.0) -> None:
        self._loop = loop
        self._wrong_by_s = wrong_by_s

    def now(self) -> datetime:
        return datetime.fromtimestamp(
            STARTED.timestamp() + self._loop.time() + self._wrong_by_s, STARTED.tzinfo
        )

    def monotonic(self) -> float:
        return self._loop.time()


def seconds(at: datetime) -> float:
    """The loop's time at an instant of the true clock."""
    return (at - STARTED).total_seconds()


class Troubles:
    """When each node was last hurt: crash, freeze, thaw, a store that refused or forgot."""

    def __init__(self) -> None:
        self._at: dict[str, list[float]] = defaultdict(list)

    def befell(self, node: str) -> None:
        """Something happened to a node now."""
        self._at[node].append(asyncio.get_running_loop().time())

    def between(self, node: str, begin: float, end: float) -> bool:
        """Whether anything happened to a node in a span of the loop's time."""
        times = self._at.get(node, [])
        place = bisect_left(times, begin)
        return place < len(times) and times[place] <= end

    def last(self, node: str, before: float) -> float:
        """When the latest thing up to `before` happened to a node."""
        times = self._at.get(node, [])
        place = bisect_right(times, before)
        return times[place - 1] if place else 0.0

    def since(self, worker: WorkerId, begin: datetime) -> bool:
        """Whether anything happened to a worker's node since an instant of the true clock."""
        return self.between(worker, seconds(begin), HEALED)

    @staticmethod
    def writer() -> str | None:
        """Whose code runs now, None for the world's."""
        here = HERE.get()
        return here.name if here is not None else None
