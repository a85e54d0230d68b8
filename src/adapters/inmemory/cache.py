"""Answers kept in this process's memory."""

from collections import OrderedDict
from datetime import timedelta

from domain.ports.cache import CacheStats
from domain.ports.system import Clock

MAX_ENTRIES = 1024
# Answers are kilobytes: some megabytes at most.


class MemoryCache:
    """At most `max_entries`; the one that was not asked for the longest gives way."""

    def __init__(self, clock: Clock, max_entries: int = MAX_ENTRIES) -> None:
        self._clock = clock
        self._max_entries = max_entries
        self._entries: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._hits = self._misses = self._evictions = 0

    async def get(self, key: str) -> bytes | None:
        until, value = self._entries.get(key, (0.0, b""))
        if key not in self._entries or until <= self._clock.monotonic():
            self._entries.pop(key, None)
            self._misses += 1
            return None
        self._entries.move_to_end(key)
        self._hits += 1
        return value

    async def put(self, key: str, value: bytes, ttl: timedelta) -> None:
        self._entries[key] = (self._clock.monotonic() + ttl.total_seconds(), value)
        self._entries.move_to_end(key)
        if len(self._entries) > self._max_entries:
            self._forget_expired()
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)
            self._evictions += 1

    async def clear(self) -> int:
        self._forget_expired()
        count = len(self._entries)
        self._entries.clear()
        return count

    async def stats(self) -> CacheStats:
        self._forget_expired()
        return CacheStats(
            backend="memory",
            entries=len(self._entries),
            hits=self._hits,
            misses=self._misses,
            evictions=self._evictions,
        )

    def _forget_expired(self) -> None:
        now = self._clock.monotonic()
        for key in [key for key, (until, _) in self._entries.items() if until <= now]:
            del self._entries[key]
