"""What every test shares."""

import inspect
import logging
from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("tests.contracts")


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio, the loop that the system runs on."""
    return "asyncio"


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
