"""What callers may do with servers and their tools."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec

from domain.errors import Invalid
from domain.model.callers import Caller, Scope
from domain.model.keys import Once
from domain.model.servers import (
    Era,
    OnChange,
    ServerName,
    ServerNotFound,
    ServerRecord,
    ServerSpec,
    ServerUnusable,
)
from domain.model.tools import (
    Tool,
    ToolAlert,
    ToolNotFound,
    ToolResult,
    ToolWithheld,
)
from domain.orchestration.catalogue import Entry
from domain.orchestration.fleet import Fleet
from domain.orchestration.forwarding import require_forwarded
from domain.orchestration.group import Group, Member
from domain.orchestration.results import tool_result
from domain.orchestration.routing import Router
from domain.orchestration.runner import Runner
from domain.ports.mcp import ProgressSink, Traffic
from domain.ports.system import Clock


class McpService:
    """Servers as callers see them, and calls of their tools."""

    def __init__(self, fleet: Fleet, clock: Clock) -> None:
        self._fleet = fleet
        self._router = Router(clock)
        self._clock = clock

    @property
    def started(self) -> bool:
        """Whether the servers were begun and are not being ended."""
        return self._fleet.started

    async def look_up(self, name: str) -> None:
        """Have a server known here that another process has just added. Raises ServerNotFound."""
        await self._fleet.find(name)

    def records(self) -> tuple[ServerRecord, ...]:
        """How all servers are now, by name."""
        return self._fleet.records()

    def record(self, name: str) -> ServerRecord:
        """Raises ServerNotFound."""
        return self._fleet.group(name).record

    def log_tail(self, name: str) -> tuple[str, ...]:
        """The last lines of a server's diagnostics. Raises ServerNotFound."""
        return self._fleet.group(name).log_tail()

    def members(self) -> Mapping[ServerName, tuple[Member, ...]]:
        """All instances of all servers, by name; each server has at least one."""
        return self._fleet.members()

    def traffic(self) -> Mapping[ServerName, tuple[Traffic, ...]]:
        """Counts of the sessions that are open, by server; servers without one are left out."""
        open_ones = {
            name: tuple(member.traffic for member in members if member.traffic is not None)
            for name, members in self.members().items()
        }
        return {name: counts for name, counts in open_ones.items() if counts}

    def alerts(self, name: str) -> tuple[ToolAlert, ...]:
        """The latest changes of a server's tools, oldest first. Raises ServerNotFound."""
        return self._fleet.trust(name).alerts

    async def approve_tools(self, caller: Caller, name: str) -> ServerRecord:
        """Trust a server's tools as last listed, alerts seen. Raises ServerNotFound."""
        caller.require(Scope.ADMIN)
        group = await self._fleet.find(name)
        self._fleet.approve(name)
        return group.record

    @property
    def waiting(self) -> int:
        """How many calls wait for their turn."""
        return self._router.waiting + self._fleet.waiting

    def tools(self, server: str | None = None) -> tuple[Tool, ...]:
        """Tools on offer by full name, of all servers or of one. Raises ServerNotFound."""
        return self._fleet.tools(server)

    async def tools_soon(self, within: timedelta) -> tuple[Tool, ...]:
        """As `tools`, once servers in their first start have listed theirs or `within` is over."""
        await self._fleet.first_lists(self._clock.monotonic() + within.total_seconds())
        return self.tools()

    def known_tools(self, server: str) -> tuple[Tool, ...]:
        """The tools last listed by a server, on offer or not; empty for an unknown one."""
        return self._fleet.catalogue.of(ServerName(server))

    def repeatable(self, server: str, tool: str) -> bool:
        """Whether a second call does no further harm: as an operator says, else the tool's hints.

        False for what is not known.
        """
        try:
            spec = self._fleet.group(server).record.spec
        except ServerNotFound:
            return False
        if spec.calls_idempotent(tool):
            return True
        return any(known.repeatable for known in self.known_tools(server) if known.name == tool)

    def find(self, full_name: str) -> Tool:
        """A tool by its full name. Raises ToolNotFound."""
        entry = self._fleet.catalogue.find(full_name)
        if entry is None:
            raise ToolNotFound(f"There is no tool {full_name!r}.", tool=full_name)
        return entry.tool

    async def add(self, caller: Caller, spec: ServerSpec, once: Once | None = None) -> ServerRecord:
        """Keep a new server and begin it. It runs code: ADMIN.

        The record is the one of its beginning, its secrets masked. Raises ServerExists,
        KeyReused, KeyInFlight.
        """
        caller.require(Scope.ADMIN)
        return await self._fleet.add(spec, once)

    async def remove(self, caller: Caller, name: ServerName) -> None:
        """End a server and forget it. Raises ServerNotFound, ServerNotRemovable."""
        caller.require(Scope.ADMIN)
        await self._fleet.remove(name)

    def require_free(self, name: ServerName) -> None:
        """Raises ServerExists where a new server could not have this name."""
        self._fleet.require_free(name)

    async def start_server(self, caller: Caller, name: str) -> ServerRecord:
        """Begin a life unless one is under way; returns without waiting for it.

        Raises ServerNotFound, ServerUnusable.
        """
        caller.require(Scope.ADMIN)
        group = await self._usable(name)
        group.start()
        return group.record

    async def reset_breaker(self, caller: Caller, name: str) -> None:
        """Let calls through to a server that failed. Raises ServerNotFound, ServerUnusable."""
        caller.require(Scope.ADMIN)
        (await self._usable(name)).reset()

    async def stop_server(self, caller: Caller, name: str) -> ServerRecord:
        """End a server until it is started again."""
        caller.require(Scope.ADMIN)
        group = await self._fleet.find(name)
        await group.stop("stopped on request")
        return group.record

    async def restart_server(self, caller: Caller, name: str) -> ServerRecord:
        """End a server and begin it again."""
        caller.require(Scope.ADMIN)
        group = await self._usable(name)
        await group.restart("restarted on request")
        return group.record

    async def _usable(self, name: str) -> Group:
        group = await self._fleet.find(name)
        problem = group.spec.problem
        if problem:
            raise ServerUnusable(f"The entry of {name!r} must be mended: {problem}", server=name)
        return group

    async def call_tool(  # noqa: PLR0913 - a call is all of this
        self,
        caller: Caller,
        server: str,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        timeout: timedelta,  # noqa: ASYNC109 - one deadline travels down to the server
        progress: ProgressSink | None = None,
    ) -> ToolResult:
        """Call a tool once; never repeats a call.

        Raises:
            ServerNotFound, ToolNotFound, ToolWithheld, ArgumentsInvalid: nothing was sent.
            ServerDown: nothing was sent; at once, also while the server backs off.
            CallTimedOut, CallInterrupted: the call may have had an effect.
            PeerRefused, AnswerMalformed: the server answered otherwise than with a result.
        """
        begun = self._clock.monotonic()
        deadline = begun + timeout.total_seconds()
        raw = await self._call(caller, server, tool, arguments, deadline, progress)
        return tool_result(raw, server, tool, self._clock.monotonic() - begun)

    async def execute(
        self,
        caller: Caller,
        server: str,
        method: str,
        params: Mapping[str, Any],
        *,
        timeout: timedelta,  # noqa: ASYNC109 - one deadline travels down to the server
    ) -> msgspec.Raw:
        """Send one of the allowed methods and return the result's JSON text.

        `tools/call` takes the ordinary path with all its checks. Raises as `call_tool`, and
        MethodNotAllowed.
        """
        deadline = self._clock.monotonic() + timeout.total_seconds()
        if method == "tools/call":
            tool, arguments = params.get("name"), params.get("arguments", {})
            if not isinstance(tool, str) or not isinstance(arguments, dict):
                raise Invalid("tools/call needs a name and an arguments object in params.")
            return await self._call(caller, server, tool, arguments, deadline, None)
        require_forwarded(method, params)
        caller.require(Scope.TOOLS)

        async def ask(runner: Runner) -> msgspec.Raw:
            session = await runner.serving(deadline)
            if method == "ping" and session.peer.era is Era.MODERN:
                # Modern revisions have no ping; discovery is their cheap, mandatory answer.
                await self._router.ask(runner, "server/discover", {}, deadline, None)
                return msgspec.Raw(b"{}")
            return await self._router.ask(runner, method, params, deadline, None)

        group = await self._fleet.find(server)
        return await group.carry_out(caller, deadline, ask)

    async def _call(  # noqa: PLR0913, PLR0917 - a call is all of this
        self,
        caller: Caller,
        server: str,
        tool: str,
        arguments: Mapping[str, Any],
        deadline: float,
        progress: ProgressSink | None,
    ) -> msgspec.Raw:
        caller.require(Scope.TOOLS)
        group = self._fleet.known(server) or await self._fleet.find(server)
        entry = self._fleet.catalogue.get(ServerName(server), tool)
        params = {"name": tool, "arguments": arguments}
        listed = entry is not None and group.spec.on_change is not OnChange.QUARANTINE
        if entry is not None and listed:
            entry.require_fit(arguments)
            if group.sole is not None:
                return await self._router.ask(group.sole, "tools/call", params, deadline, progress)
        return await self._call_one(caller, group, params, deadline, progress, listed=listed)

    async def _call_one(  # noqa: PLR0913 - a call is all of this
        self,
        caller: Caller,
        group: Group,
        params: Mapping[str, Any],
        deadline: float,
        progress: ProgressSink | None,
        *,
        listed: bool,
    ) -> msgspec.Raw:
        async def ask(runner: Runner) -> msgspec.Raw:
            if not listed:
                entry = await self._listed_entry(runner, group.spec.name, params["name"], deadline)
                entry.require_fit(params["arguments"])
            return await self._router.ask(runner, "tools/call", params, deadline, progress)

        return await group.carry_out(caller, deadline, ask)

    async def _listed_entry(self, runner: Runner, server: str, tool: str, deadline: float) -> Entry:
        """A server that has not come up yet may list the tool, or list it as another."""
        await runner.serving(deadline)
        entry = self._fleet.catalogue.get(ServerName(server), tool)
        if entry is None and tool in self._fleet.trust(server).withheld:
            raise ToolWithheld(
                f"The tool {tool!r} of the server {server!r} is not as it was first seen: "
                "it awaits approval.",
                server=server,
                tool=tool,
            )
        if entry is None:
            raise ToolNotFound(
                f"The server {server!r} has no tool {tool!r}.", server=server, tool=tool
            )
        return entry
