"""Servers in containers over HTTP: deployed, removed, and the engines that run them."""

import asyncio
from typing import Annotated, Any

import msgspec
from litestar import Router, delete, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.types import Scope

from domain.errors import Invalid
from domain.model.blueprints import blueprint_of
from domain.model.callers import CallerId
from domain.model.containers import IMAGE_PATTERN, Blueprint, Container, ContainerView
from domain.model.health import HealthState
from domain.model.recipes import Image, Npm, Pypi
from domain.model.servers import SERVER_NAME_PATTERN, ServerName, ServerSpec, Usage
from domain.orchestration.containers import ContainerService, EngineView
from domain.orchestration.known import BY_NAME
from domain.orchestration.service import McpService
from entrypoints.http.keys import ONCE, Key
from entrypoints.http.requests import Id, Service, caller_of
from entrypoints.http.server_answers import ServerAnswer, described
from entrypoints.http.servers import Environment, Text, Texts
from entrypoints.http.streams import MEDIA_TYPE, FrameStream, log_frames
from entrypoints.known_entry import KnownServerRefused
from entrypoints.server_options import ServerOptions

LINES = ResponseSpec(
    str,
    generate_examples=False,
    media_type=MEDIA_TYPE,
    description="Events `log` with a line each, until `done`",
)
Tail = Annotated[int, QueryParameter(ge=0, le=200, description="At most this many old lines.")]
ImageName = Annotated[str, msgspec.Meta(pattern=IMAGE_PATTERN)]


class DeployInvalid(Invalid):
    """What is to be deployed is named twice, or not at all."""


class DeployBody(ServerOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An image that speaks MCP over its standard streams, or a known server to build one from.

    `base` is the image that a known package is installed on; `mounts` are names that an
    administrator allowed; without `network` the container reaches nothing.
    """

    name: Annotated[str, msgspec.Meta(pattern=SERVER_NAME_PATTERN)]
    image: ImageName | None = None
    known: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    base: ImageName | None = None
    command: Texts = ()
    env: Environment = msgspec.field(default_factory=dict)
    network: bool = False
    mounts: Annotated[tuple[Text, ...], msgspec.Meta(max_length=20)] = ()
    user: Annotated[str, msgspec.Meta(pattern=r"^[\w.-]{0,64}(:[\w.-]{1,64})?$(?!\n)")] = ""
    engine: Annotated[str, msgspec.Meta(max_length=64)] = ""

    def wanted(self, owner: CallerId) -> tuple[ServerSpec, Blueprint | None]:
        """Raises DeployInvalid, KnownServerRefused, PackageRefused."""
        if (self.image is None) == (self.known is None):
            raise DeployInvalid("A deploy names one of image and known.", path="/image")
        blueprint = None
        if self.image is not None:
            image, command = self.image, self.command
        else:
            image, command, blueprint = self._known(self.known or "")
        recipe = Container(
            image=image,
            command=command,
            env=self.env,
            network=self.network,
            user=self.user,
            engine=self.engine,
        )
        spec = ServerSpec(name=ServerName(self.name), recipe=recipe, owner=owner)
        return self.applied(spec), blueprint

    def _known(self, name: str) -> tuple[str, tuple[str, ...], Blueprint | None]:
        entry = BY_NAME.get(name)
        if entry is None:
            raise KnownServerRefused(f"There is no known server {name!r}.", known=name)
        needed = (variable.name for variable in entry.environment if variable.required)
        missing = [each for each in needed if each not in self.env]
        if missing:
            raise KnownServerRefused(
                f"{name}: it needs the environment variable {', '.join(missing)}.", known=name
            )
        if isinstance(entry.recipe, Image):
            return f"{entry.recipe.image}:{entry.recipe.tag}", entry.recipe.args, None
        if not isinstance(entry.recipe, Npm | Pypi) or self.base is None:
            raise DeployInvalid("A known package is built on a base image: base.", path="/base")
        blueprint = blueprint_of(entry, self.base, self.command)
        return blueprint.image, (), blueprint


class ContainerAnswer(ContainerView, frozen=True, kw_only=True):
    """A container, with its server's restarts."""

    restarts: int


class DindStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The engines: the first that answers gives version; `reason` says what does not."""

    dind_container_running: bool
    status: HealthState
    reason: str
    engine_version: str | None
    engines: tuple[EngineView, ...]
    containers: tuple[ContainerAnswer, ...]
    total_count: int


@post("/deploy", dependencies=ONCE)
async def deploy(
    containers: Service[ContainerService],
    scope: Scope,
    data: JSONBody[DeployBody],
    once: Key,
) -> ServerAnswer:
    """Run a server in a container, its image pinned and its use of the machine limited."""
    caller = caller_of(scope)
    spec, blueprint = data.wanted(caller.id)
    return described(await containers.deploy(caller, spec, data.mounts, blueprint, once), ())


@delete("/deploy/{name:str}")
async def undeploy(
    containers: Service[ContainerService], scope: Scope, name: FromPath[str]
) -> None:
    """End a deployed server; on the answer its container is gone."""
    await containers.remove(caller_of(scope), ServerName(name))


@get("/dind/status")
async def dind_status(
    containers: Service[ContainerService], mcp: Service[McpService], scope: Scope
) -> DindStatus:
    """The engines and this system's containers, asked now."""
    caller = caller_of(scope)
    engines = await containers.engines(caller)
    up = [each for each in engines if each.status is not None]
    down = [f"{each.name}: {each.reason}" for each in engines if each.status is None]
    restarts = {record.spec.name: record.restarts for record in mcp.records()}
    views = tuple(
        ContainerAnswer(
            **msgspec.structs.asdict(view), restarts=restarts.get(ServerName(view.server), 0)
        )
        for each in engines
        for view in each.containers
    )
    state = HealthState.DEGRADED if down else HealthState.HEALTHY
    return DindStatus(
        dind_container_running=bool(up) and not down,
        status=state if engines else HealthState.DISABLED,
        reason="; ".join(down) if engines else "no engine is configured",
        engine_version=up[0].status.version if up and up[0].status else None,
        engines=engines,
        containers=views,
        total_count=len(views),
    )


@get("/dind/containers/{container_id:str}/stats")
async def container_stats(
    containers: Service[ContainerService], scope: Scope, container_id: Id
) -> Usage:
    """What a container uses, measured for a second."""
    return await containers.usage(caller_of(scope), container_id)


@get("/dind/containers/{container_id:str}/logs", media_type=MEDIA_TYPE, responses={200: LINES})
async def container_logs(
    containers: Service[ContainerService],
    draining: Service[asyncio.Event],
    scope: Scope,
    container_id: Id,
    tail: Tail = 50,
) -> FrameStream:
    """A container's diagnostics as they come."""
    lines = await containers.logs(caller_of(scope), container_id, tail)
    farewell: dict[str, Any] = {"resume": f"/api/v1/mcp/dind/containers/{container_id}/logs"}
    return FrameStream(log_frames(lines), draining, farewell)


ROUTES = Router(
    "/mcp",
    route_handlers=[deploy, undeploy, dind_status, container_stats, container_logs],
    tags=["containers"],
)
