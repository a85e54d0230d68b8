"""The error table."""

from datetime import timedelta

import msgspec
import pytest

from domain.errors import Conflict, Failure, Forbidden, Invalid, NotFound, Unavailable
from domain.model.callers import ScopeMissing
from domain.model.servers import ServerDown, ServerNotFound
from domain.model.tasks import TaskFinished
from domain.model.tools import AnswerMalformed, CallInterrupted, CallTimedOut, PeerRefused
from domain.ports.models import ModelRefused, ModelUnavailable
from domain.ports.storage import StorageUnavailable
from entrypoints.http.problems import STATUS, TaskFailed, problem_of


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (Invalid("x"), 422),
        (Forbidden("x"), 403),
        (ScopeMissing("x"), 403),
        (NotFound("x"), 404),
        (ServerNotFound("x"), 404),
        (Conflict("x"), 409),
        (TaskFinished("x"), 409),
        (Unavailable("x"), 503),
        (ServerDown("x"), 503),
        (StorageUnavailable("x"), 503),
        (ModelUnavailable("x"), 503),
        (ModelRefused("x"), 502),
        (CallTimedOut("x"), 504),
        (CallInterrupted("x"), 502),
        (AnswerMalformed("x"), 502),
        (PeerRefused(-32000, "x"), 502),
        (PeerRefused(-32602, "x"), 422),
        (TaskFailed("x", reason="unavailable"), 503),
        (TaskFailed("x", reason="not-found"), 404),
        (TaskFailed("x", reason="deadline"), 504),
        (TaskFailed("x", reason="cancelled"), 409),
        (TaskFailed("x", reason="worker-lost"), 502),
        (Failure("x"), 500),
    ],
)
def test_a_failure_has_its_status(failure: Failure, status: int) -> None:
    problem = problem_of(failure, "r1")

    assert problem.status == status
    assert msgspec.json.decode(problem.body)["status"] == status


def test_every_kind_of_failure_is_in_the_table() -> None:
    kinds = {kind for kind in Failure.__subclasses__() if kind.__module__ == "domain.errors"}

    assert len(kinds) == 5
    assert kinds <= set(STATUS)


def test_a_problem_says_what_who_and_which() -> None:
    failure = ServerNotFound("There is no server 'x'.", server="x", type="never", secret=object())

    problem = problem_of(failure, "r1")

    assert dict(problem.headers)["content-type"] == "application/problem+json"
    assert msgspec.json.decode(problem.body) == {
        "type": "urn:sutazai:problem:server-not-found",
        "title": "Server not found",
        "status": 404,
        "detail": "There is no server 'x'.",
        "request_id": "r1",
        "server": "x",
    }


@pytest.mark.parametrize(("seconds", "said"), [(0.2, "1"), (1.0, "1"), (1.1, "2"), (60, "60")])
def test_whoever_may_come_again_is_told_when(seconds: float, said: str) -> None:
    failure = ServerDown("x", retry_after=timedelta(seconds=seconds))

    assert dict(problem_of(failure, "r1").headers)["retry-after"] == said


def test_nobody_is_told_a_time_that_is_not_known() -> None:
    assert "retry-after" not in dict(problem_of(ServerDown("x"), "r1").headers)
