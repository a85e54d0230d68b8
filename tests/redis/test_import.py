"""Who does not set Redis does not pay for it."""

import asyncio
import sys

import pytest

pytestmark = pytest.mark.anyio

IMPORTS = """
import sys
import entrypoints.serve, entrypoints.work
sys.exit("redis" in sys.modules)
"""


async def test_the_client_is_imported_only_where_redis_is_set() -> None:
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", IMPORTS)

    assert await child.wait() == 0
