"""One running system per test."""

from collections.abc import AsyncIterator

import pytest

from tests.http.world import World, running_world


@pytest.fixture
async def world(anyio_backend: str) -> AsyncIterator[World]:
    async with running_world() as running:
        yield running
