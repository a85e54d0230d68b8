"""Hints among all processes of a system."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec

from adapters.redis.connections import ANSWER_S
from adapters.redis.ear import Ear
from adapters.redis.link import Away, RedisLink, started
from domain.ports.signals import Signals, Subscription

OUTBOX = 4096
# Hints that wait to be sent; more at a time than listeners keep, so the oldest may go.
AT_ONCE = 256
# Hints in one go; while it is under way the next ones gather.
HINT = msgspec.json.Decoder(dict[str, Any])


class RedisSignals:
    """Passes hints on between `near`, which is this process, and the others.

    This process hears its own hints by `near` alone: at once, and not again when they come back
    from Redis. While that is away they reach this process only.
    """

    def __init__(self, link: RedisLink, near: Signals, origin: str) -> None:
        """`origin` is of this process alone; hints of others are told from its own by it."""
        self._link = link
        self._near = near
        self._origin = f"{origin} ".encode()
        self._outbox: deque[tuple[str, bytes]] = deque(maxlen=OUTBOX)
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self._emptied.set()
        self._ear = Ear(link, self._heard)
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    def start(self) -> None:
        """Send and hear from now on, until `aclose`."""
        self._tasks = (
            started(self._send(), "redis outbox"),
            started(self._ear.listen(), "redis ear"),
        )

    async def aclose(self) -> None:
        """Send what is left, within bounds, and stop; safe to repeat."""
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                await self._emptied.wait()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def publish(self, topic: str, hint: Mapping[str, Any]) -> None:
        self._near.publish(topic, hint)
        if self._link.here:
            self._outbox.append((topic, self._origin + msgspec.json.encode(hint)))
            self._filled.set()
            self._emptied.clear()

    @asynccontextmanager
    async def subscribe(self, topic: str) -> AsyncIterator[Subscription]:
        async with self._near.subscribe(topic) as subscription:
            self._ear.add(topic)
            try:
                await self._ear.until_heard(topic)
                yield subscription
            finally:
                self._ear.remove(topic)

    async def _send(self) -> None:
        while True:
            await self._filled.wait()
            self._filled.clear()
            while self._outbox:
                batch = [self._outbox.popleft() for _ in range(min(AT_ONCE, len(self._outbox)))]
                try:
                    await self._link.ask_all(
                        ("PUBLISH", self._link.channel(topic), said) for topic, said in batch
                    )
                except Away:
                    # Who comes back to a hint of long ago gains nothing by it.
                    self._outbox.clear()
            self._emptied.set()

    def _heard(self, topic: str, said: bytes) -> None:
        """Pass on what came from elsewhere; what no process of ours said is nothing."""
        if said.startswith(self._origin):
            return
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._near.publish(topic, HINT.decode(said.partition(b" ")[2]))
