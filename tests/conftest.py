"""What every test shares."""

import inspect
import logging
from collections.abc import Iterator

import pytest

from tests.real import postgres, redis

pytest.register_assert_rewrite("tests.contracts")


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio, the loop that the system runs on."""
    return "asyncio"


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A real PostgreSQL for all tests of a run; they make databases of their own on it.

    For tests that are marked `services`. What ends or freezes a server starts its own.
    """
    with postgres.postgres_url() as url:
        yield url


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A real Redis for all tests of a run; for tests that are marked `services`."""
    with redis.redis_url() as url:
        yield url


@pytest.fixture(autouse=True)
def _errors_are_expected(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    """An error in the log that no test asks about is a fault that no test sees."""
    yield
    asked = "caplog" in inspect.signature(request.function).parameters
    errors = [
        record.getMessage()
        for phase in ("setup", "call")
        for record in caplog.get_records(phase)
        if record.levelno >= logging.ERROR
    ]
    assert asked or not errors, errors
