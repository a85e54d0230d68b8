"""The breakers before servers and models, as they are shown."""

from datetime import datetime
from enum import StrEnum

import msgspec

from domain.model.breakers import Breaker, BreakerState
from domain.model.servers import BROKEN, SERVING, ServerRecord, ServerState


class Kind(StrEnum):
    """What answers."""

    SERVER = "server"
    MODEL = "model"
    DATABASE = "database"
    CACHE = "cache"
    ENGINE = "engine"


class BreakerView(msgspec.Struct, frozen=True, kw_only=True):
    """A breaker as it is now; `name` is `server:NAME` or `model:NAME`."""

    name: str
    kind: Kind
    state: BreakerState
    since: datetime
    reason: str
    failures: int
    retry_at: datetime | None


def server_breaker(record: ServerRecord) -> BreakerView:
    """A server's breaker is its supervision: open while it waits, half open while it tries.

    A remote server that serves may still fail in calls: then it is the timed breaker before them.
    """
    calls = record.calls
    if record.state in SERVING and calls is not None and calls.failures:
        return _breaker_view(Kind.SERVER, record.spec.name, calls)
    state, failure = BreakerState.CLOSED, record.last_failure
    if record.state in BROKEN:
        state = BreakerState.OPEN
    elif record.state is ServerState.STARTING and failure and record.reason == failure.message:
        # Other starts follow a rest or a wish, whatever failed before.
        state = BreakerState.HALF_OPEN
    return BreakerView(
        name=f"{Kind.SERVER}:{record.spec.name}",
        kind=Kind.SERVER,
        state=state,
        since=record.since,
        reason="" if state is BreakerState.CLOSED else record.reason,
        failures=record.failures,
        retry_at=record.retry_at,
    )


def model_breaker(name: str, breaker: Breaker) -> BreakerView:
    """A model's breaker is timed."""
    return _breaker_view(Kind.MODEL, name, breaker)


def _breaker_view(kind: Kind, name: str, breaker: Breaker) -> BreakerView:
    return BreakerView(
        name=f"{kind}:{name}",
        kind=kind,
        state=breaker.state,
        since=breaker.since,
        reason=breaker.reason,
        failures=breaker.failures,
        retry_at=breaker.retry_at,
    )
