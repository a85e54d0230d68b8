"""A database file of its own for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.sql import migrate
from adapters.sql.engine import Database, open_database


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A file that does not exist yet; a lock is waited for shortly."""
    return f"sqlite+aiosqlite:///{tmp_path / 'store.db'}?timeout=0.2"


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    await migrate.upgrade(url)
    opened = open_database(url)
    yield opened
    await opened.dispose()
