"""A remote MCP server on this machine whose calls misbehave as a test wishes."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

TOOLS = [{"name": "echo", "inputSchema": {"type": "object"}}]


class Manner(StrEnum):
    """What becomes of calls; discovery, listing and signs of life go well in all but two."""

    WELL = "well"
    ERRORS = "errors"
    CUTS = "cuts"
    HANGS = "hangs"
    EVERY_SECOND = "every second"
    ALL_ERRORS = "all errors"
    GONE = "gone"


class Upstream(ThreadingHTTPServer):
    """Answers in the modern era; `calls` counts those that came in."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.manner = Manner.WELL
        self.calls = 0
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/mcp"

    def go(self) -> None:
        """Refuse connections from now on, and answer on none of the old ones."""
        self.manner = Manner.GONE
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that left says nothing of the server."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        upstream = cast("Upstream", self.server)
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        manner = upstream.manner
        if message["method"] == "tools/call":
            upstream.calls += 1
            if manner is Manner.EVERY_SECOND:
                manner = Manner.ERRORS if upstream.calls % 2 else Manner.WELL
            if manner is Manner.HANGS:
                upstream.released.wait(30)
        elif manner not in {Manner.ALL_ERRORS, Manner.GONE}:
            manner = Manner.WELL
        if manner in {Manner.CUTS, Manner.GONE}:
            self.connection.shutdown(socket.SHUT_RDWR)
        elif manner in {Manner.ERRORS, Manner.ALL_ERRORS}:
            self._reply(500, b"")
        else:
            answer = {"jsonrpc": "2.0", "id": message["id"], "result": _result(message)}
            self._reply(200, json.dumps(answer).encode())

    def do_GET(self) -> None:
        self._reply(405, b"")

    def _reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


def _result(message: dict[str, Any]) -> dict[str, Any]:
    if message["method"] == "server/discover":
        return {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
    if message["method"] == "tools/list":
        return {"tools": TOOLS}
    return {"content": [{"type": "text", "text": "well"}]}


@contextmanager
def upstream() -> Iterator[Upstream]:
    """One that serves until the end of the block, or until it is closed."""
    with Upstream() as one:
        thread = threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield one
        finally:
            one.released.set()
            one.shutdown()
            thread.join()
