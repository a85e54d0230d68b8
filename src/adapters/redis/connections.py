"""How connections to Redis are made, and what is said of their failures."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from redis.asyncio.connection import ConnectionPool, parse_url
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import TimeoutError as AnswerTimeout
from redis.maint_notifications import MaintNotificationsConfig

from domain.errors import Invalid

ANSWER_S = 1.0
# For one operation, with making a connection where none is open; a frozen server costs this much.
CONNECTIONS = 16
# Operations wait for one of these as long at most.
OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        "protocol": 2,
        "socket_timeout": None,
        "socket_connect_timeout": ANSWER_S,
        "client_name": "sutazai",
        "driver_info": None,
        "max_connections": CONNECTIONS + 1,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
)
# Of every connection, whatever the URL says. Whoever uses one bounds the wait. One connection more
# is for looking whether Redis is back.
REASONS: tuple[tuple[type[Exception], str], ...] = (
    (AuthenticationError, "it refuses the user or the password"),
    (BusyLoadingError, "it is loading its data"),
    (AnswerTimeout, f"no answer within {ANSWER_S:g} s"),
    (TimeoutError, f"no answer within {ANSWER_S:g} s"),
    (NoPermissionError, "it does not let this user use a command, key or channel that is needed"),
    (ReadOnlyError, "it takes no writes"),
    (OutOfMemoryError, "its memory is full"),
    (ResponseError, "it refuses a command"),
)


class RedisUrlInvalid(Invalid):
    """The URL holds options that no connection takes."""


def pool_of(url: str) -> ConnectionPool:
    """What the URL says of the server, and of the rest what this package needs."""
    options: dict[str, Any] = {}
    try:
        options.update(parse_url(url))
        options.update(OPTIONS)
        pool = ConnectionPool(**options)
        pool.make_connection()
    except (TypeError, ValueError, RedisError):
        # The library's words show parts of the URL.
        raise RedisUrlInvalid("not a URL whose options Redis connections have.") from None
    return pool


def reason_of(error: Exception) -> str:
    """A failure in a few words; the library's own might show what nobody should see."""
    return next(
        (words for kind, words in REASONS if isinstance(error, kind)), "it cannot be reached"
    )
