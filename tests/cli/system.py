"""A stand-in for a running system: answers requests with what a test lays ready."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import urlsplit


class Asked(NamedTuple):
    """A request as it came."""

    method: str
    target: str
    body: Any
    headers: dict[str, str]


class Answer(NamedTuple):
    """What to send. With `cut` the connection breaks before the body's end."""

    status: int
    media_type: str
    body: bytes
    cut: bool = False


def as_json(value: Any, status: int = 200) -> Answer:
    return Answer(status, "application/json", json.dumps(value).encode())


def problem(status: int, title: str, detail: str) -> Answer:
    body = {"type": "urn:x", "title": title, "status": status, "detail": detail}
    return Answer(status, "application/problem+json", json.dumps(body).encode())


def stream(*events: tuple[str, int | None, dict[str, Any]], cut: bool = False) -> Answer:
    frames = []
    for kind, number, data in events:
        line = "" if number is None else f"id: {number}\n"
        text = json.dumps({"id": number, **data}, ensure_ascii=False)
        frames.append(f"event: {kind}\n{line}data: {text}\n\n")
    return Answer(200, "text/event-stream; charset=utf-8", "".join(frames).encode(), cut)


class System:
    """Answers by method and path; several answers of one path are given in turn."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.asked: list[Asked] = []
        self._answers: dict[str, list[Answer]] = {}

    def lay(self, what: str, *answers: Answer) -> None:
        """Lay answers ready for `METHOD /path`; the last one is given for ever."""
        self._answers[what] = list(answers)

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        answers = self._answers.get(f"{asked.method} {urlsplit(asked.target).path}")
        if not answers:
            return problem(404, "No such route", f"{asked.target} is not laid ready.")
        return answers[0] if len(answers) == 1 else answers.pop(0)


class _Handler(BaseHTTPRequestHandler):
    system: System

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        value = json.loads(body) if body else None
        headers = {name.lower(): text for name, text in self.headers.items()}
        answer = self.system.answer(Asked(self.command, self.path, value, headers))
        self.send_response(answer.status)
        self.send_header("content-type", answer.media_type)
        self.send_header("content-length", str(len(answer.body) + answer.cut))
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(answer.body)
        self.close_connection = True

    do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 - the base class looks for these

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def running() -> Iterator[System]:
    handler = type("Handler", (_Handler,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        system = handler.system = System(server.server_address[1])  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield system
        finally:
            server.shutdown()
            thread.join()
