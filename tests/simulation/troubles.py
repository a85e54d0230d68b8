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
    """When each node was hurt: crash, freeze, thaw, start; and when the store failed it."""

    def __init__(self) -> None:
        self._hurt: dict[str, list[float]] = defaultdict(list)
        self._failed: dict[str, list[float]] = defaultdict(list)

    def befell(self, node: str) -> None:
        """Something happened to a node now."""
        self._hurt[node].append(asyncio.get_running_loop().time())

    def store_failed(self, node: str) -> None:
        """The store was slow, refused or did not answer."""
        self._failed[node].append(asyncio.get_running_loop().time())

    def between(self, node: str, begin: float, end: float) -> bool:
        """Whether anything happened to a node in a span of the loop's time."""
        return _count(self._hurt[node], begin, end) + self.failures(node, begin, end) > 0

    def failures(self, node: str, begin: float, end: float) -> int:
        """How often the store failed a node in a span of the loop's time."""
        return _count(self._failed[node], begin, end)

    def last(self, node: str, before: float) -> float:
        """When the latest thing up to `before` happened to a node, the store's failures aside."""
        times = self._hurt[node]
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


def _count(times: list[float], begin: float, end: float) -> int:
    return bisect_right(times, end) - bisect_left(times, begin)
