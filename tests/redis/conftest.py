"""Real servers: one for all, or one of a test's own to be lost."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.real.redis import Redis, redis
from tests.redis.sides import Side, new_prefix, side


@pytest.fixture
def prefix() -> str:
    return new_prefix()


@pytest.fixture
async def one(redis_url: str, prefix: str) -> AsyncIterator[Side]:
    """A process."""
    async with side(redis_url, prefix) as opened:
        yield opened


@pytest.fixture
async def other(redis_url: str, prefix: str) -> AsyncIterator[Side]:
    """Another process of the same system."""
    async with side(redis_url, prefix) as opened:
        yield opened


@pytest.fixture
def server() -> Iterator[Redis]:
    """A server of the test's own."""
    with redis() as started:
        yield started
