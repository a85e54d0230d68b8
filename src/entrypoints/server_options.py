"""What a person may decide about one server beside its recipe, in a file or over HTTP."""

from datetime import timedelta
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from domain.errors import Invalid
from domain.model.servers import Balance, OnChange, Remote, ServerSpec, Sessions, StartPolicy

Seconds = Annotated[float, msgspec.Meta(gt=0, le=3600)]
Span = Annotated[float, msgspec.Meta(gt=0, le=31_536_000)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
ToolName = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class OptionsRefused(Invalid):
    """Options that mean nothing beside one another; `path` names the one at fault."""


class LimitsGiven(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits that are to be other than the usual ones; null takes a limit away."""

    memory_mb: Count | msgspec.UnsetType | None = msgspec.UNSET
    processes: Count | msgspec.UnsetType | None = msgspec.UNSET
    cpu_percent: Annotated[float, msgspec.Meta(gt=0, le=100_000)] | msgspec.UnsetType | None = (
        msgspec.UNSET
    )
    output_mb_per_s: Annotated[float, msgspec.Meta(gt=0, le=100_000)] | msgspec.UnsetType | None = (
        msgspec.UNSET
    )
    line_bytes: Annotated[int, msgspec.Meta(ge=1024, le=1 << 30)] | msgspec.UnsetType = (
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
    sessions: Sessions | None = None
    max_instances: Annotated[int, msgspec.Meta(ge=1, le=1000)] | None = None
    replicas: Annotated[int, msgspec.Meta(ge=1, le=100)] | None = None
    balance: Balance | None = None
    max_tasks: Count | None = None
    idempotent_tools: tuple[ToolName, ...] = ()

    def applied(self, spec: ServerSpec) -> ServerSpec:
        """The spec with what is given here. Raises OptionsRefused."""
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
        plain = (
            "start",
            "on_change",
            "sessions",
            "max_instances",
            "replicas",
            "balance",
            "max_tasks",
        )
        changes |= {name: given for name in plain if (given := getattr(self, name)) is not None}
        if self.idempotent_tools:
            changes["idempotent_tools"] = self.idempotent_tools
        limits = {
            name: value
            for name, value in msgspec.structs.asdict(self.limits).items()
            if value is not msgspec.UNSET
        }
        changes["limits"] = msgspec.structs.replace(spec.limits, **limits)
        spec = msgspec.structs.replace(spec, **changes)
        self._require_sense(spec)
        return spec

    def _require_sense(self, spec: ServerSpec) -> None:
        shared = spec.sessions is Sessions.SHARED
        if spec.replicas > 1 and not shared:
            raise OptionsRefused(
                "replicas are for a server with sessions shared.", path="/replicas"
            )
        if spec.replicas > 1 and isinstance(spec.recipe, Remote):
            raise OptionsRefused("replicas are for a server that runs here.", path="/replicas")
        if self.balance is not None and spec.replicas == 1:
            raise OptionsRefused("balance is for a server with several replicas.", path="/balance")
        if self.max_instances is not None and shared:
            raise OptionsRefused(
                "max_instances is for a server with sessions per_session, per_caller or per_call.",
                path="/max_instances",
            )


def is_web_url(url: str) -> bool:
    """Whether it is an absolute address of the web."""
    parts = urlsplit(url)
    return parts.scheme in {"http", "https"} and bool(parts.hostname)
