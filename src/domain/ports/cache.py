"""Answers kept for a while; losing one costs time, nothing else."""

from datetime import timedelta
from typing import Protocol

import msgspec


class CacheStats(msgspec.Struct, frozen=True, kw_only=True):
    """Counts since the start of the backend that holds them."""

    backend: str
    entries: int
    hits: int
    misses: int
    evictions: int


class Cache(Protocol):
    """Bytes by key, under this system's prefix only."""

    async def get(self, key: str) -> bytes | None:
        """What was put, or None once its time is over or it was evicted."""
        ...

    async def put(self, key: str, value: bytes, ttl: timedelta) -> None:
        """Keep it for at most `ttl`."""
        ...

    async def clear(self) -> int:
        """Forget all entries of this system; return how many."""
        ...

    async def stats(self) -> CacheStats:
        """Counts as they are now."""
        ...
