"""Answers kept for a while for all processes."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

from adapters.redis.link import Away, RedisLink, Script
from domain.ports.cache import Cache, CacheStats

GET = Script("""
local value = redis.call('GET', KEYS[1])
redis.call('HINCRBY', KEYS[2], value and 'hits' or 'misses', 1)
return value
""")
AT_ONCE = 500
# Keys that the server looks at in one step, so that nobody waits for it long.
MOST_OWED = 1000
# Keys that are noted while Redis is away; for more than that all are forgotten on its return.
_MS = timedelta(milliseconds=1)


class RedisCache:
    """Keeps answers in Redis, and with `meanwhile` while that is away.

    What was replaced or cleared meanwhile is taken out of Redis before it is asked again, so
    nobody here sees an answer return that was gone.
    """

    def __init__(self, link: RedisLink, meanwhile: Cache) -> None:
        self._link = link
        self._meanwhile = meanwhile
        self._counts = link.key("cached")
        self._strayed = False
        self._owed: set[str] = set()
        self._owes_all = False
        self._settling = asyncio.Lock()

    async def get(self, key: str) -> bytes | None:
        try:
            await self._settle()
            value: bytes | None = await self._link.run(GET, (self._entry(key), self._counts))
        except Away:
            self._strayed = True
            return await self._meanwhile.get(key)
        return value

    async def put(self, key: str, value: bytes, ttl: timedelta) -> None:
        try:
            await self._settle()
            await self._link.ask("SET", self._entry(key), value, "PX", max(1, ttl // _MS))
        except Away:
            self._strayed = True
            self._owed.add(self._entry(key))
            self._owes_all = self._owes_all or len(self._owed) > MOST_OWED
            await self._meanwhile.put(key, value, ttl)

    async def clear(self) -> int:
        try:
            await self._settle()
            return await self._unlink_all()
        except Away:
            self._strayed = self._owes_all = True
            return await self._meanwhile.clear()

    async def stats(self) -> CacheStats:
        try:
            await self._settle()
            entries = [key async for keys in self._entries() for key in keys]
            counts = await self._link.ask("HGETALL", self._counts)
            server = await self._link.ask("INFO", "stats")
        except Away:
            return await self._meanwhile.stats()
        return CacheStats(
            backend="redis",
            entries=len(set(entries)),
            hits=int(counts.get(b"hits", 0)),
            misses=int(counts.get(b"misses", 0)),
            evictions=int(server["evicted_keys"]),
        )

    async def _settle(self) -> None:
        """Make good in Redis what happened here while it was away. Raises Away."""
        if not self._strayed:
            return
        if not self._link.here:
            raise Away
        async with self._settling:
            owed, owes_all = self._owed, self._owes_all
            self._owed, self._owes_all = set(), False
            try:
                if owes_all:
                    await self._unlink_all()
                elif owed:
                    await self._link.ask("UNLINK", *owed)
            except Away:
                self._owed |= owed
                self._owes_all = self._owes_all or owes_all
                raise
            self._strayed = bool(self._owed) or self._owes_all
            await self._meanwhile.clear()

    async def _unlink_all(self) -> int:
        """Forget every entry; how many there were. Raises Away."""
        forgotten = 0
        async for keys in self._entries():
            forgotten += await self._link.ask("UNLINK", *keys)
        return forgotten

    async def _entries(self) -> AsyncIterator[list[bytes]]:
        """The keys of all entries, some of them twice; none of anybody else. Raises Away."""
        cursor = 0
        while True:
            cursor, keys = await self._link.ask(
                "SCAN", cursor, "MATCH", self._entry("*"), "COUNT", AT_ONCE
            )
            if keys:
                yield keys
            if not cursor:
                return

    def _entry(self, key: str) -> str:
        return self._link.key(f"cache:{key}")
