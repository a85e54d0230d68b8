"""Hearing what other processes publish, over one connection however many topics there are."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from adapters.redis.connections import ANSWER_S
from adapters.redis.link import RedisLink

AT_ONCE = 500
# Channels in one command, so that none is long.

Heard = Callable[[str, bytes], None]


class Ear:
    """Hears the topics that somebody listens to; after a loss of Redis all of them anew."""

    def __init__(self, link: RedisLink, heard: Heard) -> None:
        self._link = link
        self._heard = heard
        self._listeners: Counter[str] = Counter()
        self._changed: set[str] = set()
        self._changes = asyncio.Event()
        self._sent: set[str] = set()
        self._confirmed: set[str] = set()
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._topic_at = len(link.channel(""))

    def add(self, topic: str) -> None:
        """One more listens to the topic."""
        self._listeners[topic] += 1
        if self._listeners[topic] == 1:
            self._change(topic)

    def remove(self, topic: str) -> None:
        """One fewer listens to it."""
        self._listeners[topic] -= 1
        if not self._listeners[topic]:
            del self._listeners[topic]
            self._change(topic)
            self._release(topic)

    async def until_heard(self, topic: str) -> None:
        """Wait, within bounds, until Redis has confirmed that the topic is heard."""
        if topic in self._confirmed or not self._link.here:
            return
        if topic not in self._waiting:
            self._waiting[topic] = asyncio.get_running_loop().create_future()
        await asyncio.wait({self._waiting[topic]}, timeout=ANSWER_S)

    async def listen(self) -> None:
        """Hear for ever, over a new connection after each loss."""
        while True:
            await self._link.until_here()
            try:
                await self._life(self._link.listening_connection())
            except (RedisError, OSError, TimeoutError) as error:
                self._link.lose(error)

    async def _life(self, connection: AbstractConnection) -> None:
        """One connection from its opening to its end; returns where Redis was lost elsewhere."""
        parts: set[asyncio.Task[None]] = set()
        try:
            async with asyncio.timeout(ANSWER_S):
                await connection.connect()
            self._changed = set(self._listeners)
            self._changes.set()
            parts = {
                asyncio.create_task(self._write(connection)),
                asyncio.create_task(self._read(connection)),
                asyncio.create_task(self._link.until_lost()),
            }
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for part in parts:
                part.cancel()
            ends = await asyncio.gather(*parts, return_exceptions=True)
            self._sent.clear()
            self._confirmed.clear()
            for topic in tuple(self._waiting):
                self._release(topic)
            await connection.disconnect(nowait=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end

    async def _write(self, connection: AbstractConnection) -> None:
        """Subscribe and unsubscribe as listeners come and go."""
        while True:
            await self._changes.wait()
            self._changes.clear()
            changed, self._changed = self._changed, set()
            come = [topic for topic in changed if topic in self._listeners]
            gone = [topic for topic in changed if topic not in self._listeners]
            await self._tell(connection, "SUBSCRIBE", set(come) - self._sent)
            await self._tell(connection, "UNSUBSCRIBE", set(gone) & self._sent)

    async def _tell(self, connection: AbstractConnection, word: str, topics: set[str]) -> None:
        if word == "SUBSCRIBE":
            self._sent |= topics
        else:
            self._sent -= topics
            self._confirmed -= topics
        for part in _parts(topics):
            channels = [self._link.channel(topic) for topic in part]
            await connection.send_command(word, *channels, check_health=False)

    async def _read(self, connection: AbstractConnection) -> None:
        """Take in what comes."""
        while True:
            kind, channel, said = await connection.read_response()
            topic = channel[self._topic_at :].decode()
            if kind == b"message":
                self._heard(topic, said)
            elif kind == b"subscribe" and topic in self._sent:
                self._confirmed.add(topic)
                self._release(topic)
            # A full buffer would be read to its end without a turn for anybody else.
            await asyncio.sleep(0)

    def _change(self, topic: str) -> None:
        self._changed.add(topic)
        self._changes.set()

    def _release(self, topic: str) -> None:
        """Let those go on who wait for the topic to be heard."""
        waiting = self._waiting.pop(topic, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)


def _parts(topics: Iterable[str]) -> Iterator[Sequence[str]]:
    rest = iter(topics)
    while part := tuple(islice(rest, AT_ONCE)):
        yield part
