"""Connections to PostgreSQL: how many, how long anything may take, and when one is given up.

No wait here is without a bound, also where the server is there and silent: the server ends a
statement that takes too long, and where it does not this side ends the connection.
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy import URL, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.util.concurrency import in_greenlet

from adapters.sql.core_only import create_async_engine
from adapters.sql.dialect import Engines
from adapters.sql.postgres import Postgres

ANSWER_S = 1.0
# The server ends a statement at its timeout; whoever hears nothing so long after will not.
BY_INDEX = {"enable_bitmapscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}
# A queue is never what its statistics say: PostgreSQL would sort all that waits for each claim, and
# read all tasks to end some. Every statement here has an index that leads it to its few rows.
CLOSE_S = 0.5
# A server that lives takes a farewell within milliseconds.


class PostgresLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How many connections one process has at most, and how long each act may take.

    `statement_timeout` also bounds the time for which a transaction may do nothing; None is none.
    """

    pool_size: int = 8
    pool_timeout: timedelta = timedelta(seconds=5)
    connect_timeout: timedelta = timedelta(seconds=5)
    statement_timeout: timedelta | None = timedelta(seconds=5)


USUAL = PostgresLimits()


def postgres_engines(url: URL, limits: PostgresLimits) -> Engines:
    """One pool for all."""
    host = url.host or url.query.get("host", "its socket")
    engine = create_async_engine(
        _in_drivers_words(url),
        pool_size=limits.pool_size,
        max_overflow=0,
        pool_timeout=limits.pool_timeout.total_seconds(),
        hide_parameters=True,
        connect_args=_connecting(limits),
    )
    events = engine.sync_engine
    event.listen(events, "checkout", _refuse_closed)
    event.listen(events, "handle_error", _give_up_silent)
    farewell = _Farewell()
    event.listen(events, "connect", farewell.heard)
    event.listen(events, "close", farewell.close)
    return Engines(
        dialect=Postgres(),
        writer=engine,
        autocommit=engine.execution_options(isolation_level="AUTOCOMMIT"),
        reader=engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        ),
        place=f"the database {url.database} at {host}",
    )


def _in_drivers_words(url: URL) -> URL:
    """The driver's name for what everyone else calls `sslmode`."""
    query = dict(url.query)
    if "sslmode" in query:
        query["ssl"] = query.pop("sslmode")
    return url.set(query=query)


def _connecting(limits: PostgresLimits) -> Mapping[str, Any]:
    server = {"application_name": "sutazai", **BY_INDEX}
    arguments: dict[str, Any] = {
        "timeout": limits.connect_timeout.total_seconds(),
        "server_settings": server,
    }
    if limits.statement_timeout is not None:
        seconds = limits.statement_timeout.total_seconds()
        server["statement_timeout"] = str(round(seconds * 1000))
        # A process that froze within a transaction must not keep its locks.
        server["idle_in_transaction_session_timeout"] = server["statement_timeout"]
        arguments["command_timeout"] = seconds + ANSWER_S
    return arguments


def _refuse_closed(connection: Any, _record: object, _proxy: object) -> None:
    """Let the pool make a new connection instead of one that the server has closed.

    The driver has seen that by itself: unlike a ping it costs no round trip.
    """
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _give_up_silent(context: ExceptionContext) -> None:
    """A connection on which no answer came is of no use, and most likely neither are the rest."""
    if isinstance(context.original_exception, TimeoutError):
        context.is_disconnect = True


class _Farewell:
    """Closes connections in order, but waits only for a server that answers."""

    def __init__(self) -> None:
        self._silent = False

    def heard(self, _connection: object, _record: object) -> None:
        """It answers, again or still."""
        self._silent = False

    def close(self, connection: Any, _record: object) -> None:
        """Return once it is closed on this side."""
        if in_greenlet():  # else it is garbage, whose loop may be closed
            connection.run_async(self._close)

    async def _close(self, driver: Any) -> None:
        if self._silent:
            driver.terminate()
            return
        with suppress(Exception):  # it ends here, whatever the other side thinks of it
            try:
                await driver.close(timeout=CLOSE_S)
            except TimeoutError:
                self._silent = True
