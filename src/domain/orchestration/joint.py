"""The one record of a server that runs as several instances."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from domain.model.breakers import Breaker, BreakerState
from domain.model.servers import BROKEN, SERVING, ServerRecord, ServerState, Usage

_S = ServerState
_ILL = BROKEN | {_S.DEGRADED}
_ABLE = SERVING | {_S.IDLE}
_WELL = (_S.READY, _S.STARTING, _S.IDLE)
_OUT = (_S.STARTING, _S.BACKING_OFF, _S.QUARANTINED, _S.STOPPING, _S.STOPPED, _S.DISABLED)
# Both in the order in which one stands for all.
_OPENNESS = (BreakerState.CLOSED, BreakerState.HALF_OPEN, BreakerState.OPEN)


def joined(records: Sequence[ServerRecord], past: ServerRecord) -> ServerRecord:
    """The record of all instances, of which there is at least one.

    A server is degraded while an instance is ill and another can take calls. `past` holds what
    is remembered of instances that are gone: it counts, and is not shown otherwise.
    """
    state, reason = _state(records)
    ready = [record.ready_at for record in records if record.state in SERVING]
    retries = [record.retry_at for record in records if record.retry_at is not None]
    only = records[0] if len(records) == 1 else None
    return msgspec.structs.replace(
        remembered([*records, past]),
        state=state,
        since=max(record.since for record in records),
        reason=reason,
        ready_at=min((at for at in ready if at is not None), default=None),
        retry_at=min(retries, default=None) if state in BROKEN else None,
        failures=max(record.failures for record in records),
        pid=only.pid if only else None,
        container_id=only.container_id if only else None,
        usage=_together(record.usage for record in records),
        calls=_least_open(record.calls for record in records),
    )


def remembered(records: Sequence[ServerRecord]) -> ServerRecord:
    """What stays of instances when they are gone: counts, and the latest of each."""
    failures = [each.last_failure for each in records if each.last_failure is not None]
    peers = [record for record in records if record.era is not None]
    return msgspec.structs.replace(
        records[-1],
        last_failure=max(failures, key=lambda failure: failure.at, default=None),
        last_ok=_latest(record.last_ok for record in records),
        starts=sum(record.starts for record in records),
        restarts=sum(record.restarts for record in records),
        era=peers[0].era if peers else None,
        protocol_version=peers[0].protocol_version if peers else None,
    )


def _state(records: Sequence[ServerRecord]) -> tuple[ServerState, str]:
    """The state that stands for all, and its reason."""
    states = {record.state for record in records}
    ill = [record for record in records if record.state in _ILL]
    if not states & _ABLE:
        state = next(state for state in _OUT if state in states)
    elif ill:
        first = ill[0]
        if len(records) == 1:
            return first.state, first.reason
        what = first.state.value.replace("_", " ")
        return _S.DEGRADED, f"{len(ill)} of {len(records)} instances: {what}: {first.reason}"
    else:
        state = next(state for state in _WELL if state in states)
    return state, next(record.reason for record in records if record.state is state)


def _latest(times: Iterable[datetime | None]) -> datetime | None:
    return max((at for at in times if at is not None), default=None)


def _least_open(breakers: Iterable[Breaker | None]) -> Breaker | None:
    """While one instance takes calls the server does."""
    known = [breaker for breaker in breakers if breaker is not None]
    return min(known, key=lambda breaker: _OPENNESS.index(breaker.state), default=None)


def _together(usages: Iterable[Usage | None]) -> Usage | None:
    known = [usage for usage in usages if usage is not None]
    if not known:
        return None
    return Usage(
        memory_bytes=sum(usage.memory_bytes for usage in known),
        processes=sum(usage.processes for usage in known),
        cpu_percent=round(sum(usage.cpu_percent for usage in known), 1),
        output_mb_per_s=round(sum(usage.output_mb_per_s for usage in known), 3),
    )
