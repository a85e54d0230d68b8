"""What health looks at: one probe a part."""

from collections.abc import Mapping

from adapters.llm.offline import OfflineModel
from domain.agents import Models
from domain.health import (
    EnginesProbe,
    FixedProbe,
    ModelProbe,
    ServersProbe,
    StorageProbe,
    WorkerProbe,
)
from domain.model.health import Finding, HealthState
from domain.orchestration.service import McpService
from domain.ports.engines import ContainerEngine
from domain.ports.probes import Probe
from domain.tasks.worker import Worker
from entrypoints.wiring.ground import Ground

NO_MODEL = "no language model is configured (SUTAZAI_LLM_BASE_URL, SUTAZAI_LLM_MODEL)"
NO_ENGINE = Finding(state=HealthState.DISABLED, reason="no engine is configured")


def probes_of(
    ground: Ground,
    mcp: McpService,
    models: Models,
    worker: Worker,
    engines: Mapping[str, ContainerEngine],
) -> Mapping[str, Probe]:
    """The parts by the names that health gives them."""
    return {
        "database": StorageProbe(ground.inspector),
        "cache": ground.shared.probe,
        "mcp": ServersProbe(mcp),
        "docker": EnginesProbe(engines) if engines else FixedProbe(NO_ENGINE),
        "models": _model_probe(ground, models),
        "tasks": WorkerProbe(worker),
    }


def _model_probe(ground: Ground, models: Models) -> Probe:
    model = models.default
    if isinstance(model, OfflineModel):
        return FixedProbe(Finding(state=HealthState.DISABLED, reason=NO_MODEL, backend=model.name))
    return ModelProbe(model, ground.shared.cache, ground.clock)
