"""The container engines of the settings."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from domain.model.containers import Mount
from domain.orchestration.containers import DeployRules
from domain.ports.engines import ContainerEngine
from entrypoints.settings.values import Settings
from entrypoints.wiring.ground import Ground
from entrypoints.wiring.node import Node

DEFAULT = "default"
# The name of the one that SUTAZAI_DOCKER_HOST gives.


def engines_of(
    settings: Settings, ground: Ground, node: Node, stack: AsyncExitStack
) -> Mapping[str, ContainerEngine]:
    """All of them by name, not yet spoken to; the stack ends what they run."""
    places: dict[str, tuple[str, Path | None]] = {
        name: (engine.host, engine.cert_path) for name, engine in settings.engines.items()
    }
    if settings.docker_host is not None:
        places[DEFAULT] = (settings.docker_host, settings.docker_cert_path)
    if not places:
        return {}
    # httpx takes 7 MB and 0.2 s: imported only where an engine is configured.
    from adapters.docker.creation import Labels  # noqa: PLC0415
    from adapters.docker.engine import DockerEngine  # noqa: PLC0415

    labels = Labels(node=node.name, generation=ground.chance.new_id())
    engines: dict[str, ContainerEngine] = {}
    for name, (host, certificates) in places.items():
        engine = DockerEngine(name, host, labels, certificates)
        stack.push_async_callback(engine.aclose)
        engines[name] = engine
    return engines


def deploy_rules(settings: Settings) -> DeployRules:
    """What may be deployed."""
    return DeployRules(
        images=settings.allowed_images,
        mounts={
            name: Mount(source=mount.source, target=mount.target, read_only=mount.read_only)
            for name, mount in settings.mounts.items()
        },
    )
