"""The server that comes with this system: tools for time and text over standard input and output.

Run as `python -m entrypoints.mcp.bundled`. It ends when its input ends.
"""

import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from entrypoints.mcp.protocol import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    Incoming,
    Offer,
    Refusal,
    RequestId,
    answer,
    check_envelope,
    discovered,
    id_of,
    initialized,
    is_modern,
    method_not_found,
    modern_result,
    notice,
    read,
    refuse,
)
from entrypoints.mcp.text_tools import TEXT_TOOLS
from entrypoints.mcp.time_tools import TIME_TOOLS
from entrypoints.mcp.tool_table import Run, Tool, mistake

TOOLS = {tool.name: tool for tool in (*TIME_TOOLS, *TEXT_TOOLS)}
OFFER = Offer(
    name="sutazai-bundled",
    version="1.0.0",
    capabilities={"tools": {}},
    instructions="Tools for time and text. They read only and reach nothing outside.",
    ttl_ms=3_600_000,
    cache_scope="public",
)
# The tools are the same for everyone and change with the program only.
MAX_RUNNING = 64
# Each slow call holds a thread.


class BundledServer:
    """Takes lines and hands answers to `write`, which may be called from several threads."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._handshaken = False
        self._running: dict[RequestId, threading.Event] = {}

    def take(self, line: bytes) -> None:
        """Answer one line of a client, now or when its slow tool is done."""
        try:
            message = read(line)
        except Refusal as refusal:
            self._write(refuse(id_of(line), refusal))
            return
        if isinstance(message.id, int | str):
            self._respond(message, message.id)
        elif message.method == "notifications/cancelled":
            self._cancel(message.params.get("requestId"))

    def _respond(self, message: Incoming, request_id: RequestId) -> None:
        try:
            result = self._result(message, request_id)
        except Refusal as refusal:
            self._write(refuse(request_id, refusal))
            return
        if result is not None:
            self._send_result(message, request_id, result)

    def _send_result(
        self, message: Incoming, request_id: RequestId, result: dict[str, Any]
    ) -> None:
        modern = is_modern(message)
        whole = modern_result(message.method, result, OFFER) if modern else result
        self._write(answer(request_id, whole))

    def _result(self, message: Incoming, request_id: RequestId) -> dict[str, Any] | None:
        """The result, None where a slow tool has begun that will answer by itself."""
        if is_modern(message):
            check_envelope(message)
        match message.method:
            case "server/discover":
                return discovered(OFFER)
            case "initialize":
                result = initialized(message, OFFER)
                self._handshaken = True
                return result
            case "ping":
                return {}
            case "tools/list":
                self._check_opened(message)
                if message.params.get("cursor") is not None:
                    raise Refusal(INVALID_PARAMS, "Invalid params: unknown cursor")
                return {"tools": [tool.definition for tool in TOOLS.values()]}
            case "tools/call":
                self._check_opened(message)
                return self._call(message, request_id)
            case unknown:
                raise method_not_found(unknown)

    def _check_opened(self, message: Incoming) -> None:
        if not (self._handshaken or is_modern(message)):
            raise Refusal(
                INVALID_PARAMS, "Invalid params: neither initialize nor the modern _meta came first"
            )

    def _call(self, message: Incoming, request_id: RequestId) -> dict[str, Any] | None:
        name = message.params.get("name")
        tool = TOOLS.get(name) if isinstance(name, str) else None
        if tool is None:
            raise Refusal(INVALID_PARAMS, f"Unknown tool: {name}")
        arguments = message.params.get("arguments", {})
        if not isinstance(arguments, dict):
            raise Refusal(INVALID_PARAMS, "Invalid params: arguments must be an object")
        run = Run(partial(self._report, message.progress_token), threading.Event())
        if not tool.slow:
            return _called(tool, arguments, run)
        if request_id in self._running:
            raise Refusal(INVALID_REQUEST, "Invalid request: its id is in use")
        if len(self._running) >= MAX_RUNNING:
            return mistake(f"Too many calls run at once: {MAX_RUNNING} are the most.")
        self._running[request_id] = run.cancelled
        work = partial(self._finish, message, request_id, partial(_called, tool, arguments, run))
        threading.Thread(target=work, name=f"call {request_id}", daemon=True).start()
        return None

    def _finish(
        self, message: Incoming, request_id: RequestId, work: Callable[[], dict[str, Any]]
    ) -> None:
        try:
            result = work()
        except Refusal as refusal:
            self._running.pop(request_id, None)
            self._write(refuse(request_id, refusal))
            return
        cancelled = self._running.pop(request_id).is_set()
        if not cancelled:
            self._send_result(message, request_id, result)

    def _report(self, token: RequestId | None, progress: float, total: float, message: str) -> None:
        if token is not None:
            params = {
                "progressToken": token,
                "progress": progress,
                "total": total,
                "message": message,
            }
            self._write(notice("notifications/progress", params))

    def _cancel(self, request_id: object) -> None:
        if isinstance(request_id, int | str) and (run := self._running.get(request_id)) is not None:
            run.set()


def _called(tool: Tool, arguments: dict[str, Any], run: Run) -> dict[str, Any]:
    try:
        return tool.call(arguments, run)
    except Exception as fault:
        # One tool's defect must not take the others down: it is shown on standard error.
        sys.excepthook(type(fault), fault, fault.__traceback__)
        raise Refusal(INTERNAL_ERROR, "Internal error") from fault


class _Output:
    """Whole lines to standard output, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def write(self, message: bytes) -> None:
        line = memoryview(message + b"\n")
        with self._lock:
            try:
                while line:
                    line = line[os.write(1, line) :]
            except BrokenPipeError:
                # Nobody reads any more, so there is nobody to serve.
                os._exit(0)


def main() -> None:
    """Serve until standard input ends."""
    server = BundledServer(_Output().write)
    for line in sys.stdin.buffer:
        if not line.isspace():
            server.take(line)


if __name__ == "__main__":
    main()
