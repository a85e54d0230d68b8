"""What every test shares."""

import pytest

pytest.register_assert_rewrite("tests.contracts")


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio, the loop that the system runs on."""
    return "asyncio"
