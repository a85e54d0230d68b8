"""`sutazai serve`: the whole system in one process, from the open port to the last child's end."""

import asyncio
import gc
import logging
import os
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import timedelta

import uvloop

from domain.errors import Failure
from domain.model.servers import ServerName, ServerState
from domain.orchestration.service import McpService
from entrypoints.banner import banner
from entrypoints.claim import folder_claim, installation_id, listener_of
from entrypoints.given import BUNDLED, given_servers
from entrypoints.http.application import application
from entrypoints.http.door import Door, DoorRules
from entrypoints.http.limits import Quota
from entrypoints.log import write_log
from entrypoints.serving import HttpServer, PortTaken, probe_port
from entrypoints.settings.folder import make_data_folder
from entrypoints.settings.values import Settings
from entrypoints.stopping import Stopping
from entrypoints.wiring.node import Node, node_name
from entrypoints.wiring.system import System, open_system

logger = logging.getLogger(__name__)

SETTLE_S = 3.0
# The banner waits this long for servers that are still starting, so that it tells their states;
# a first start waits as long for the bundled one before it lets callers in.
LOOK_S = 0.05


def serve(settings: Settings, environ: Mapping[str, str]) -> int:
    """Run until SIGTERM or SIGINT. Returns the exit code: 0 stopped on request, 1 refused."""
    write_log(settings.log_level)
    try:
        make_data_folder(settings.data_dir)
        given = given_servers(settings, environ)
        port = _port(settings)
        address = f"http://{_in_url(settings.host)}:{port}"
        with folder_claim(settings.data_dir, address):
            name = node_name(installation_id(settings.data_dir), "serve")
            node = Node(
                name=name,
                environ=environ,
                given=given,
                concurrency=settings.worker_concurrency,
            )
            uvloop.run(_main(settings, node, port))
    except Failure as failure:
        sys.stderr.write(f"error: {failure.message}\n")
        return 1
    return 0


def _port(settings: Settings) -> int:
    try:
        return probe_port(settings.host, settings.port)
    except PortTaken as taken:
        holder = listener_of(settings.port)
        if not holder:
            raise
        raise PortTaken(f"{taken.message} It is held by {holder}") from taken


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


async def _main(settings: Settings, node: Node, port: int) -> None:
    rules = DoorRules(
        port=port,
        allowed_hosts=settings.allowed_hosts,
        allowed_origins=settings.allowed_origins,
        admin_key=settings.admin_key.reveal() if settings.admin_key is not None else None,
        max_body_bytes=settings.max_body_bytes,
    )
    door, drain = Door(rules), timedelta(seconds=settings.drain_s)
    async with AsyncExitStack() as stack:
        stopping = stack.enter_context(Stopping())
        await stack.enter_async_context(HttpServer(door, settings.host, port, drain))
        system = await stopping.entered(stack, open_system(settings, node))
        if system is None:
            return
        stack.push_async_callback(_drain, door, system, drain)
        await _until_tools_are_known(system, stopping.asked)
        door.open(application(system.container, door.draining, _per_minute(settings)))
        gc.freeze()
        gc.enable()
        await _settled(system.mcp, stopping.asked)
        address = f"http://{_in_url(settings.host)}:{port}"
        sys.stdout.write(banner(settings, address, os.getpid(), system.mcp.records()) + "\n")
        sys.stdout.flush()
        await stopping.asked.wait()
        logger.info("stopping")


def _per_minute(settings: Settings) -> Mapping[Quota, int]:
    return {
        Quota.CHAT: settings.chat_per_minute,
        Quota.TASKS: settings.tasks_per_minute,
        Quota.TOOL_CALLS: settings.tool_calls_per_minute,
    }


async def _until_tools_are_known(system: System, stop: asyncio.Event) -> None:
    """Wait on the very first start for the tools that come along.

    Later starts know them from the last; without them the first chat would be offered none.
    """
    if not system.mcp.known_tools(BUNDLED):
        await _settled(system.mcp, stop, BUNDLED)


async def _settled(mcp: McpService, stop: asyncio.Event, name: ServerName | None = None) -> None:
    """Wait a little while that server, or any at all, is still starting."""
    for _ in range(round(SETTLE_S / LOOK_S)):
        starting = {r.spec.name for r in mcp.records() if r.state is ServerState.STARTING}
        if stop.is_set() or not (starting if name is None else starting & {name}):
            return
        await asyncio.sleep(LOOK_S)


async def _drain(door: Door, system: System, drain: timedelta) -> None:
    """Let nobody in, claim nothing, and give what runs its time to end."""
    door.closing()
    await asyncio.gather(door.emptied(drain), system.worker.stop(drain))
