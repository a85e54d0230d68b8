"""The HTTP application: every noun's routes over the services that the wiring made."""

import asyncio
from collections.abc import Mapping
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

import svcs
from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.di import Provide
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.plugins import PluginProtocol
from litestar.plugins.core import MsgspecDIPlugin

from domain.agents import AgentService
from domain.chat import ChatService
from domain.health import HealthService
from domain.mesh import MeshService
from domain.orchestration.containers import ContainerService
from domain.orchestration.service import McpService
from domain.ports.cache import Cache
from domain.ports.limits import RateLimits
from domain.ports.storage import StorageInspector
from domain.ports.system import Clock
from domain.schedules import ScheduleService
from domain.tasks.decisions import DecisionService
from domain.tasks.register import WorkerService
from domain.tasks.service import TaskService
from entrypoints.http import (
    agents,
    chat,
    database,
    decisions,
    deploys,
    mcp,
    mesh,
    schedules,
    servers,
    system,
    tasks,
    tools,
    workers,
)
from entrypoints.http.failures import answer_failure
from entrypoints.http.limits import Quota, RouteLimits
from entrypoints.http.requests import StrictRequest

SERVICES: Mapping[str, type] = MappingProxyType(
    {
        "agents": AgentService,
        "cache": Cache,
        "chats": ChatService,
        "clock": Clock,
        "containers": ContainerService,
        "decisions": DecisionService,
        "health_of": HealthService,
        "mcp": McpService,
        "mesh": MeshService,
        "schedules": ScheduleService,
        "storage": StorageInspector,
        "tasks": TaskService,
        "workers": WorkerService,
    }
)
# What routes ask for by name, and what the wiring registered it as.


NOUNS = (
    agents,
    chat,
    tasks,
    schedules,
    decisions,
    mcp,
    servers,
    deploys,
    database,
    mesh,
    workers,
)
# Each file of routes; those of tools are made with what they need.


class Application(Litestar):
    """Litestar with msgspec alone: it imports pydantic wherever that happens to be installed."""

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return [*plugins, MsgspecDIPlugin()]


def application(
    container: svcs.Container, draining: asyncio.Event, per_minute: Mapping[Quota, int]
) -> Litestar:
    """The routes over the services in `container`; streams end when `draining` is set.

    Each caller may send at most so many requests of a quota; no number and 0 are no limit.
    """
    limits = RouteLimits(container.get_abstract(RateLimits), per_minute)
    routes = [*(noun.ROUTES for noun in NOUNS), tools.routes(container.get(McpService), limits)]
    api = Router("/api/v1", route_handlers=routes)
    provided = {name: container.get_abstract(kind) for name, kind in SERVICES.items()}
    return Application(
        [*system.ROUTES, api],
        dependencies={
            name: _constant(value) for name, value in (provided | {"draining": draining}).items()
        },
        exception_handlers={Exception: answer_failure},
        request_class=StrictRequest,
        request_max_body_size=None,
        openapi_config=OpenAPIConfig(
            title="SutazAI",
            version=version("sutazai"),
            path="/api/v1/openapi",
            render_plugins=[JsonRenderPlugin()],
            use_handler_docstrings=True,
        ),
        logging_config=None,
        state=State({"limits": limits}),
        debug=False,
    )


def _constant(value: object) -> Provide:
    def provide() -> Any:
        return value

    return Provide(provide, use_cache=True, sync_to_thread=False)
