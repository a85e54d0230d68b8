"""What a run sees of calls and of the runs of tasks."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from domain.errors import Failure
from domain.model.callers import Caller
from domain.model.tasks import Task
from domain.model.tools import ToolResult
from domain.orchestration.fleet import Fleet
from domain.orchestration.service import McpService
from domain.ports.mcp import ProgressSink
from domain.tasks.recorder import Recorder
from domain.tasks.runs import Finish, Run
from tests.simulation.names import tag_of
from tests.simulation.servers import Outside
from tests.simulation.troubles import TrueClock


class WatchedMcp(McpService):
    """Notes every call's begin and end, and that the answer is the caller's own."""

    def __init__(self, fleet: Fleet, clock: TrueClock, outside: Outside) -> None:
        super().__init__(fleet, clock)
        self._journal = outside.journal
        self._outside = outside

    async def call_tool(  # noqa: PLR0913 - as the service's
        self,
        caller: Caller,
        server: str,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        timeout: timedelta,  # noqa: ASYNC109 - as the service's
        progress: ProgressSink | None = None,
    ) -> ToolResult:
        key = str(arguments.get("key"))
        self._journal.note("call-begun", key, within=timeout.total_seconds())
        try:
            result = await super().call_tool(
                caller, server, tool, arguments, timeout=timeout, progress=progress
            )
        except Failure as failure:
            self._journal.note("call-failed", key, why=type(failure).__name__)
            raise
        except asyncio.CancelledError:
            self._journal.note("call-left", key)
            raise
        self._journal.note("call-answered", key)
        self._outside.telling_moment()
        own = f'"text":"{key}"'.encode() in bytes(result.content)
        self._journal.require(own, f"{key} was given the answer of another call")
        return result


def watched(run: Run, outside: Outside) -> Run:
    """The run, its begin and its end noted, however it ends."""
    journal = outside.journal

    async def carry_out(task: Task, recorder: Recorder) -> Finish:
        tag = tag_of(task)
        journal.note("run-begun", tag, attempt=task.attempt)
        most = journal.all("claimed", tag)[-1].data["of"]
        journal.require(
            task.attempt <= most, f"{tag} was carried out {task.attempt} times, {most} are allowed"
        )
        try:
            return await run(task, recorder)
        finally:
            journal.note("run-over", tag, attempt=task.attempt)
            outside.telling_moment(weight=4)

    return carry_out
