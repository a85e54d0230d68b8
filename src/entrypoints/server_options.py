"""What a person may decide about one server beside its recipe, in a file or over HTTP."""

from datetime import timedelta
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from domain.model.servers import OnChange, ServerSpec, StartPolicy

Seconds = Annotated[float, msgspec.Meta(gt=0, le=3600)]
Span = Annotated[float, msgspec.Meta(gt=0, le=31_536_000)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class LimitsGiven(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits that are to be other than the usual ones; null takes a limit away."""

    memory_mb: Count | msgspec.UnsetType | None = msgspec.UNSET
    processes: Count | msgspec.UnsetType | None = msgspec.UNSET
    cpu_percent: Annotated[float, msgspec.Meta(gt=0, le=100_000)] | msgspec.UnsetType | None = (
        msgspec.UNSET
    )
    open_files: Annotated[int, msgspec.Meta(ge=16, le=1_000_000)] | msgspec.UnsetType = (
        msgspec.UNSET
    )
    calls: Count | msgspec.UnsetType = msgspec.UNSET
    queue: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] | msgspec.UnsetType = msgspec.UNSET


class ServerOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of one server; those not given are the spec's defaults."""

    start: StartPolicy | None = None
    start_timeout_s: Seconds | None = None
    probe_timeout_s: Seconds | None = None
    canary_s: Seconds | None = None
    idle_stop_s: Span | None = None
    max_life_s: Span | None = None
    limits: LimitsGiven = LimitsGiven()
    on_change: OnChange | None = None

    def applied(self, spec: ServerSpec) -> ServerSpec:
        """The spec with what is given here."""
        spans = {
            "start_timeout": self.start_timeout_s,
            "probe_timeout": self.probe_timeout_s,
            "canary": self.canary_s,
            "idle_stop": self.idle_stop_s,
            "max_life": self.max_life_s,
        }
        changes: dict[str, object] = {
            name: timedelta(seconds=span) for name, span in spans.items() if span is not None
        }
        if self.start is not None:
            changes["start"] = self.start
        if self.on_change is not None:
            changes["on_change"] = self.on_change
        limits = {
            name: value
            for name, value in msgspec.structs.asdict(self.limits).items()
            if value is not msgspec.UNSET
        }
        changes["limits"] = msgspec.structs.replace(spec.limits, **limits)
        return msgspec.structs.replace(spec, **changes)


def is_web_url(url: str) -> bool:
    """Whether it is an absolute address of the web."""
    parts = urlsplit(url)
    return parts.scheme in {"http", "https"} and bool(parts.hostname)
