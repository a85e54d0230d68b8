"""The rules of a server's life, walked at random and looked at one by one."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from domain.model.callers import LOCAL
from domain.model.servers import (
    SERVER_TRANSITIONS,
    Command,
    Era,
    ServerName,
    ServerRecord,
    ServerSpec,
    ServerState,
    StartFailure,
    StartPolicy,
)
from domain.orchestration import supervision
from domain.orchestration.supervision import IllegalTransition, RestartPolicy
from domain.ports.mcp import Peer

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PEER = Peer(era=Era.MODERN, protocol_version="2026-07-28")
POLICY = RestartPolicy()


def spec(start: StartPolicy = StartPolicy.EAGER) -> ServerSpec:
    return ServerSpec(
        name=ServerName("s"), recipe=Command(command="c"), start=start, owner=LOCAL.id
    )


def crashed(record: ServerRecord, at: datetime, fraction: float = 0.5) -> ServerRecord:
    failure = StartFailure(stage="run", message="exited", at=at)
    return supervision.failed(record, failure, POLICY, fraction)


class Walk(RuleBasedStateMachine):
    """Any order of events that the runner can meet."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.record = supervision.new_record(spec(), NOW)

    @rule(seconds=st.integers(0, 600))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @precondition(lambda self: ServerState.STARTING in SERVER_TRANSITIONS[self.record.state])
    @rule()
    def start(self) -> None:
        before = self.record
        self.record = supervision.starting(before, self.now)
        assert self.record.starts == before.starts + 1

    @precondition(lambda self: self.record.state is ServerState.STARTING)
    @rule()
    def come_up(self) -> None:
        self.record = supervision.ready(self.record, self.now, PEER, 42)

    @precondition(lambda self: ServerState.BACKING_OFF in SERVER_TRANSITIONS[self.record.state])
    @rule(fraction=st.floats(0, 1, exclude_max=True))
    def crash(self, fraction: float) -> None:
        self.record = crashed(self.record, self.now, fraction)
        assert self.record.retry_at is not None
        wait = self.record.retry_at - self.now
        assert wait <= POLICY.quarantine * (1 + POLICY.jitter)
        assert wait >= POLICY.first_delay * (1 - POLICY.jitter)
        assert self.record.last_failure is not None

    @precondition(lambda self: ServerState.STOPPED in SERVER_TRANSITIONS[self.record.state])
    @rule()
    def stop(self) -> None:
        self.record = supervision.stopped(self.record, self.now, "asked")

    @invariant()
    def a_process_is_named_only_while_one_runs(self) -> None:
        alive = {ServerState.READY, ServerState.DEGRADED}
        assert (self.record.pid is not None) == (self.record.state in alive)

    @invariant()
    def a_retry_is_planned_only_after_a_failure(self) -> None:
        waiting = {ServerState.BACKING_OFF, ServerState.QUARANTINED}
        assert (self.record.retry_at is not None) == (self.record.state in waiting)

    @invariant()
    def the_state_is_never_older_than_its_time(self) -> None:
        assert self.record.since <= self.now


TestWalk = Walk.TestCase


def test_an_illegal_way_is_refused() -> None:
    record = supervision.new_record(spec(), NOW)
    with pytest.raises(IllegalTransition):
        supervision.ready(record, NOW, PEER, 1)


def test_delays_double_up_to_the_longest_and_then_quarantine() -> None:
    record = supervision.new_record(spec(), NOW)
    delays = []
    for _ in range(POLICY.quarantine_after):
        record = crashed(supervision.starting(record, NOW), NOW)
        assert record.retry_at is not None
        delays.append((record.retry_at - NOW).total_seconds())
    assert delays == [0.5, 1, 2, 4, 8, 16, 30, 300]
    assert record.state is ServerState.QUARANTINED


def test_a_stable_life_starts_the_count_anew() -> None:
    record = supervision.new_record(spec(), NOW)
    for _ in range(3):
        record = crashed(supervision.starting(record, NOW), NOW)
    record = supervision.ready(supervision.starting(record, NOW), NOW, PEER, 1)
    assert crashed(record, NOW + timedelta(seconds=59)).failures == 4
    assert crashed(record, NOW + POLICY.stable_after).failures == 1


def test_a_disabled_entry_says_so() -> None:
    record = supervision.new_record(spec(StartPolicy.DISABLED), NOW)
    assert (record.state, record.reason) == (ServerState.DISABLED, "disabled by its entry")
