"""The MCP servers: how they are started, dialled and spoken to."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from importlib.metadata import version

from adapters.mcp.connector import StreamConnector
from adapters.processes.launcher import ProcessLauncher
from adapters.schemas.compiler import JsonSchemaCompiler
from domain.model.containers import Container
from domain.model.servers import Command, Remote
from domain.orchestration.fleet import Fleet
from domain.orchestration.life import Parts
from domain.orchestration.placement import PlacedLauncher
from domain.orchestration.roster import Roster
from domain.orchestration.service import McpService
from domain.ports.engines import ContainerEngine
from domain.ports.launching import Launcher
from domain.ports.mcp import Changed, McpConnector, McpSession, Opening, RemoteConnector
from domain.ports.schemas import SchemaCompiler
from entrypoints.wiring.ground import Ground
from entrypoints.wiring.node import Node


async def started_servers(
    ground: Ground,
    node: Node,
    engines: Mapping[str, ContainerEngine],
    stack: AsyncExitStack,
) -> McpService:
    """A fleet that has begun; the stack ends every server of it."""
    processes = ProcessLauncher(node.name, node.environ)
    stack.push_async_callback(processes.aclose)
    launcher: Launcher[Command] = processes
    containers: Launcher[Container] = PlacedLauncher(engines)
    connector: McpConnector = StreamConnector("sutazai", version("sutazai"))
    compiler: SchemaCompiler = JsonSchemaCompiler()
    dialer: RemoteConnector = _Dialer()
    parts = Parts(
        launcher=launcher,
        containers=containers,
        connector=connector,
        dialer=dialer,
        clock=ground.clock,
        chance=ground.chance,
    )
    roster = Roster(ground.transactions, ground.shared.signals, node.given)
    fleet = Fleet(parts, roster, compiler, eager=node.eager)
    stack.push_async_callback(fleet.stop)
    for engine in engines.values():
        engine.on_return(fleet.wake_containers)
    await fleet.start()
    return McpService(fleet, ground.clock)


class _Dialer:
    """Remote servers need httpx, 7 MB and 0.2 s: imported when the first one is dialled."""

    async def dial(self, recipe: Remote, opening: Opening, changed: Changed) -> McpSession:
        from adapters.mcp.remote.connector import HttpConnector  # noqa: PLC0415 - as it says

        connector: RemoteConnector = HttpConnector("sutazai", version("sutazai"))
        return await connector.dial(recipe, opening, changed)
