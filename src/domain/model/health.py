"""How a part of the system is, by a probe or an event, never by assumption."""

from datetime import datetime
from enum import StrEnum

import msgspec


class HealthState(StrEnum):
    """From best to worst; DISABLED parts do not count."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    DISABLED = "disabled"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one look at a part found. `probe_ms` is None where no probe was needed."""

    state: HealthState
    reason: str = ""
    probe_ms: float | None = None
    backend: str | None = None


class PartHealth(msgspec.Struct, frozen=True, kw_only=True):
    """A part's state over time: `since` when it entered it, `last_ok` when it was last healthy."""

    state: HealthState
    reason: str
    since: datetime
    last_ok: datetime | None
    probe_ms: float | None
    backend: str | None
