"""Hints between nodes, which the air delays and loses."""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from random import Random
from typing import Any

from adapters.inmemory.signals import MemorySignals, MemorySubscription
from tests.simulation.loop import Node


class Air:
    """Carries every hint to all other nodes, less those that are lost."""

    def __init__(self, dice: Random, lost: float) -> None:
        self._dice = dice
        self._lost = lost
        self._present: list[NodeSignals] = []

    def join(self, signals: "NodeSignals") -> None:
        """One more listens."""
        self._present = [there for there in self._present if not there.node.dead]
        self._present.append(signals)

    def carry(self, sender: "NodeSignals", topic: str, hint: Mapping[str, Any]) -> None:
        """Take a hint to whoever listens elsewhere."""
        if self._lost >= 1:
            return
        loop = asyncio.get_running_loop()
        for there in self._present:
            heard = there is not sender and there.listens(topic)
            if heard and self._dice.random() >= self._lost:
                delay = self._dice.choice((0.001, 0.005, 0.3))
                loop.call_later(
                    delay, there.local.publish, topic, hint, context=there.node.context.copy()
                )


class NodeSignals:
    """The hints of one node: its own at once, those of others as the air brings them."""

    def __init__(self, air: Air, node: Node) -> None:
        self._air = air
        self.node = node
        self.local = MemorySignals()
        air.join(self)

    def listens(self, topic: str) -> bool:
        """Whether anyone here would hear of it."""
        return topic in self.local._topics

    def publish(self, topic: str, hint: Mapping[str, Any]) -> None:
        self.local.publish(topic, hint)
        self._air.carry(self, topic, hint)

    def subscribe(self, topic: str) -> AbstractAsyncContextManager[MemorySubscription]:
        return self.local.subscribe(topic)
