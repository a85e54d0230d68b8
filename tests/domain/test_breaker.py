"""The timed breaker, moment by moment."""

from datetime import UTC, datetime, timedelta

import pytest

from domain.model.breakers import Breaker, BreakerOpen, BreakerPolicy, BreakerState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = BreakerPolicy(failures=2, first_pause=timedelta(seconds=4))


def broken(breaker: Breaker, times: int, at: datetime = NOW) -> Breaker:
    for _ in range(times):
        breaker = breaker.failed(at, "refused")
    return breaker


def test_it_opens_after_failures_in_a_row_only() -> None:
    breaker = broken(Breaker(policy=POLICY, since=NOW), 1).succeeded(NOW)
    assert broken(breaker, 1).state is BreakerState.CLOSED
    assert broken(breaker, 2).state is BreakerState.OPEN


def test_while_open_nothing_passes_and_the_reason_is_told() -> None:
    breaker = broken(Breaker(policy=POLICY, since=NOW), 2)
    with pytest.raises(BreakerOpen, match="refused") as refused:
        breaker.admitted(NOW + timedelta(seconds=3))
    assert refused.value.retry_after == timedelta(seconds=1)


def test_one_request_tries_the_way_back() -> None:
    later = NOW + timedelta(seconds=4)
    trying = broken(Breaker(policy=POLICY, since=NOW), 2).admitted(later)
    assert trying.state is BreakerState.HALF_OPEN
    with pytest.raises(BreakerOpen):
        trying.admitted(later)
    assert trying.succeeded(later) == Breaker(policy=POLICY, since=later)


def test_a_trial_that_fails_opens_it_for_twice_as_long() -> None:
    later = NOW + timedelta(seconds=4)
    again = broken(Breaker(policy=POLICY, since=NOW), 2).admitted(later).failed(later, "refused")
    assert again.retry_at == later + timedelta(seconds=8)


def test_a_trial_given_up_leaves_the_way_to_the_next() -> None:
    later = NOW + timedelta(seconds=4)
    left = broken(Breaker(policy=POLICY, since=NOW), 2).admitted(later).abandoned(later)
    assert left.admitted(later).state is BreakerState.HALF_OPEN


def test_an_answer_forgets_the_failures_and_not_since_when_it_is_closed() -> None:
    closed = broken(Breaker(policy=POLICY, since=NOW), 1).succeeded(NOW + timedelta(seconds=1))
    assert closed == Breaker(policy=POLICY, since=NOW)
