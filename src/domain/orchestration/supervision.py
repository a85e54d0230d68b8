"""The rules of a server's life: from a record and an event to the next record, time given."""

from datetime import datetime, timedelta

import msgspec

from domain.model.servers import (
    SERVER_TRANSITIONS,
    SERVING,
    ServerDown,
    ServerRecord,
    ServerSpec,
    ServerState,
    StartFailure,
    StartPolicy,
)
from domain.ports.mcp import Peer


class RestartPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When a failed server is started again.

    The n-th failure in a row waits `first_delay` * 2**(n-1), at most `longest_delay`, spread by
    `jitter` (0.2: up to a fifth less or more). From `quarantine_after` failures in a row on it
    waits `quarantine` between tries. A life of `stable_after` starts the count anew.
    """

    first_delay: timedelta = timedelta(milliseconds=500)
    longest_delay: timedelta = timedelta(seconds=30)
    jitter: float = 0.2
    quarantine_after: int = 8
    quarantine: timedelta = timedelta(minutes=5)
    stable_after: timedelta = timedelta(seconds=60)


class IllegalTransition(RuntimeError):
    """A programming error: the table does not know this way."""


def new_record(spec: ServerSpec, now: datetime) -> ServerRecord:
    """The record of a server that was never started."""
    if spec.problem or spec.start is StartPolicy.DISABLED:
        reason = spec.problem or "disabled by its entry"
        return ServerRecord(spec=spec, state=ServerState.DISABLED, since=now, reason=reason)
    return ServerRecord(spec=spec, state=ServerState.IDLE, since=now)


def begun(spec: ServerSpec, now: datetime) -> ServerRecord:
    """The record of a server as it is once it was taken in: an eager one starts at once."""
    record = new_record(spec, now)
    eager = spec.start is StartPolicy.EAGER and not spec.problem
    return starting(record, now) if eager else record


def enter(
    record: ServerRecord, state: ServerState, now: datetime, reason: str = "", **changes: object
) -> ServerRecord:
    """The record after it went to `state`; raises IllegalTransition where the table forbids it."""
    if state not in SERVER_TRANSITIONS[record.state]:
        raise IllegalTransition(f"{record.spec.name}: {record.state} -> {state}")
    return msgspec.structs.replace(
        record, state=state, since=now, reason=reason, retry_at=None, **changes
    )


def starting(record: ServerRecord, now: datetime) -> ServerRecord:
    """A new life begins."""
    return enter(
        record,
        ServerState.STARTING,
        now,
        record.reason if record.failures else "",
        starts=record.starts + 1,
        restarts=record.starts,
        ready_at=None,
        pid=None,
        container_id=None,
    )


def ready(
    record: ServerRecord,
    now: datetime,
    peer: Peer,
    pid: int | None,
    container_id: str | None = None,
) -> ServerRecord:
    """It shook hands and listed its tools."""
    return enter(
        record,
        ServerState.READY,
        now,
        ready_at=now,
        last_ok=now,
        pid=pid,
        container_id=container_id,
        era=peer.era,
        protocol_version=peer.protocol_version,
    )


def silent(record: ServerRecord, now: datetime, illness: str) -> ServerRecord:
    """It lives and gives no sign."""
    return enter(record, ServerState.DEGRADED, now, illness)


def recovered(record: ServerRecord, now: datetime) -> ServerRecord:
    """It answers again."""
    return enter(record, ServerState.READY, now)


def failed(
    record: ServerRecord,
    failure: StartFailure,
    policy: RestartPolicy,
    fraction: float,
) -> ServerRecord:
    """A life ended without being asked to; `fraction` in [0, 1) spreads the next start."""
    was_stable = record.ready_at is not None and (
        failure.at - record.ready_at >= policy.stable_after
    )
    failures = 1 if was_stable else record.failures + 1
    quarantined = failures >= policy.quarantine_after
    delay = policy.quarantine if quarantined else _delay(failures, policy)
    spread = 1 + policy.jitter * (2 * fraction - 1)
    after = enter(
        record,
        ServerState.QUARANTINED if quarantined else ServerState.BACKING_OFF,
        failure.at,
        failure.message,
        failures=failures,
        last_failure=failure,
        pid=None,
        container_id=None,
    )
    return msgspec.structs.replace(after, retry_at=failure.at + delay * spread)


def _delay(failures: int, policy: RestartPolicy) -> timedelta:
    doublings = min(failures - 1, 30)
    return min(policy.first_delay * (1 << doublings), policy.longest_delay)


def stopped(record: ServerRecord, now: datetime, reason: str) -> ServerRecord:
    """It was asked to stop and nothing of it is left; its count of failures is forgiven."""
    return enter(
        record,
        ServerState.STOPPED,
        now,
        reason,
        failures=0,
        pid=None,
        container_id=None,
        ready_at=None,
    )


def down(record: ServerRecord, now: datetime) -> ServerDown:
    """The failure that says why no call can be taken now."""
    retry_after = None
    if record.retry_at is not None:
        retry_after = max(record.retry_at - now, timedelta(seconds=1))
    # Whoever asks while it serves in name has seen its session end just now.
    ended = record.state in SERVING
    state = "ending" if ended else record.state.value.replace("_", " ")
    return ServerDown(
        f"The server {record.spec.name!r} is {state}"
        + (f": {record.reason}." if record.reason else "."),
        retry_after=retry_after,
        server=record.spec.name,
        state=record.state.value,
    )
