"""The door: the outermost callable, which knows who may come in and who is still inside."""

import asyncio
import hmac
import re
import secrets
from datetime import timedelta
from enum import StrEnum
from itertools import count

import msgspec

from domain.errors import Failure
from domain.model.callers import LOCAL, Caller, CallerId, Scope
from entrypoints.http.problems import (
    BodyTooLarge,
    HostMissing,
    HostRefused,
    HttpMethodNotAllowed,
    KeyMissing,
    MediaTypeUnsupported,
    NotServing,
    OriginRefused,
)
from entrypoints.http.sessions import in_session
from entrypoints.http.visit import BODY_PATIENCE, STOPPING_RETRY, App, Message, Receive, Send, Visit

ADMIN = Caller(id=CallerId("admin"), scopes=frozenset(Scope))
# Whoever holds the admin key.
ANYONE = Caller(id=CallerId("anyone"), scopes=frozenset())
# Whoever comes without the key to what is open to all.
OPEN_PATHS = frozenset(
    {"/docs", "/api/v1/docs", "/docs/page.js", "/docs/page.css", "/openapi.json"}
)
# They say how the system is spoken to and hold no data; a browser asks for a page without a key.
READING = ("GET", "HEAD")
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
# What goes into logs and headers unescaped.
JSON = b"application/json"
HTTP_PORT = 80
# Browsers leave it out of an origin.
CANCEL_GRACE = timedelta(seconds=1)
# Cancelled handlers only roll back and close.
STARTING_RETRY = timedelta(seconds=1)
# A start takes about that long.


class Phase(StrEnum):
    """Where the system's life stands, as callers see it."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


class DoorRules(msgspec.Struct, frozen=True, kw_only=True):
    """Who may come in.

    `port` is the one that is really bound. Hosts are names without a port, origins are as
    browsers send them. Without an `admin_key` whoever comes in is the local user.
    """

    port: int
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    admin_key: str | None = None
    max_body_bytes: int = 4 * 1024 * 1024
    body_patience: timedelta = BODY_PATIENCE


class Door:
    """An ASGI callable that answers by itself until an application stands behind it.

    `draining` is set once the system stops: streams then end themselves.
    """

    def __init__(self, rules: DoorRules) -> None:
        self._rules = rules
        self._hosts = frozenset(host.lower().encode() for host in LOOPBACK + rules.allowed_hosts)
        self._usual_hosts = frozenset(b"%b:%d" % (host, rules.port) for host in self._hosts)
        suffixes = ("", ":80") if rules.port == HTTP_PORT else (f":{rules.port}",)
        own = tuple(f"http://{host}{suffix}" for host in LOOPBACK for suffix in suffixes)
        self._origins = frozenset(
            origin.lower().rstrip("/").encode() for origin in own + rules.allowed_origins
        )
        self._key = rules.admin_key.encode() if rules.admin_key else None
        self._caller = ADMIN if rules.admin_key else LOCAL
        self._app: App | None = None
        self._inside: set[Visit] = set()
        self._emptied: asyncio.Event | None = None
        self._run = secrets.token_hex(4)
        self._numbers = count(1)
        self.phase = Phase.STARTING
        self.draining = asyncio.Event()

    @property
    def open_responses(self) -> int:
        """How many requests are being answered now."""
        return len(self._inside)

    def open(self, app: App) -> None:
        """Let callers through to `app` from now on."""
        self._app = app
        self.phase = Phase.READY

    def closing(self) -> None:
        """Let nobody in any more."""
        self.phase = Phase.DRAINING
        self.draining.set()

    async def emptied(self, within: timedelta) -> int:
        """Wait until everyone has left, then cancel the rest; return how many those were."""
        if not self._inside:
            return 0
        self._emptied = asyncio.Event()
        try:
            async with asyncio.timeout(within.total_seconds()):
                await self._emptied.wait()
        except TimeoutError:
            late = tuple(self._inside)
            for visit in late:
                visit.cancel()
            tasks = [visit.task for visit in late if visit.task is not None]
            if tasks:
                await asyncio.wait(tasks, timeout=CANCEL_GRACE.total_seconds())
            return len(late)
        return 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id")
        if given and REQUEST_ID.fullmatch(given):
            request_id = given.decode()
        else:
            request_id = f"{self._run}-{next(self._numbers)}"
        visit = Visit(receive, send, request_id)
        try:
            self._check_source(scope, headers)
            if (probe := self._probe(scope["path"])) is not None:
                if scope["method"] not in READING:
                    raise HttpMethodNotAllowed("This path is read.", allow=", ".join(READING))
                await visit.answer(*probe)
                return
            caller = in_session(self._caller_by(scope, headers), headers)
            app, max_body_bytes = self._admit(headers)
        except Failure as failure:
            if _has_body(headers) and b"expect" not in headers:
                await visit.discard()
            await visit.refuse(failure)
            return
        scope.setdefault("state", {}).update(
            request_id=request_id, caller=caller, fields=visit.fields
        )
        self._inside.add(visit)
        try:
            await visit.through(app, scope, max_body_bytes, self._rules.body_patience)
        finally:
            self._inside.discard(visit)
            if self._emptied is not None and not self._inside:
                self._emptied.set()

    def _check_source(self, scope: Message, headers: dict[bytes, bytes]) -> None:
        """Turn away what a foreign page or a rebound name makes a browser send."""
        host = headers.get(b"host", b"")
        twice = len(headers) != len(scope["headers"])
        if not host or (twice and [name for name, _ in scope["headers"]].count(b"host") > 1):
            raise HostMissing("A request needs exactly one Host header.")
        if host not in self._usual_hosts and _host_name(host) not in self._hosts:
            raise HostRefused("This system does not serve that host; see SUTAZAI_ALLOWED_HOSTS.")
        origin = headers.get(b"origin")
        if origin is not None and origin.lower() not in self._origins:
            raise OriginRefused("Pages of that origin may not ask; see SUTAZAI_ALLOWED_ORIGINS.")

    def _probe(self, path: str) -> tuple[int, bytes] | None:
        """The answers that hang on nothing."""
        match path:
            case "/livez":
                return 200, b'{"status":"alive"}'
            case "/readyz":
                status = 200 if self.phase is Phase.READY else 503
                return status, b'{"status":"%s"}' % self.phase.encode()
            case "/health-emergency":
                return 200, b'{"status":"alive","phase":"%s"}' % self.phase.encode()
            case _:
                return None

    def _caller_by(self, scope: Message, headers: dict[bytes, bytes]) -> Caller:
        """Who asks. Raises KeyMissing."""
        if self._key is not None:
            kind, _, key = headers.get(b"authorization", b"").partition(b" ")
            if kind.lower() != b"bearer" or not hmac.compare_digest(key.strip(), self._key):
                if scope["path"] in OPEN_PATHS:
                    return ANYONE
                raise KeyMissing("This needs the header 'Authorization: Bearer <key>'.")
        return self._caller

    def _admit(self, headers: dict[bytes, bytes]) -> tuple[App, int]:
        """The application, and how many bytes of a body it will be given."""
        if self.phase is Phase.DRAINING:
            raise NotServing("The system is stopping.", retry_after=STOPPING_RETRY)
        if self._app is None:
            raise NotServing("The system is starting.", retry_after=STARTING_RETRY)
        return self._app, self._body_allowance(headers)

    def _body_allowance(self, headers: dict[bytes, bytes]) -> int:
        if not _has_body(headers):
            return 0
        limit = self._rules.max_body_bytes
        if int(headers.get(b"content-length", 0)) > limit:
            raise BodyTooLarge(f"At most {limit} bytes are taken.", max_body_bytes=limit)
        media_type = headers.get(b"content-type", b"")
        if media_type != JSON and media_type.partition(b";")[0].strip().lower() != JSON:
            raise MediaTypeUnsupported("A body must be application/json.")
        return limit


def _host_name(host: bytes) -> bytes:
    """The header's name without its port; brackets of an IPv6 address stay."""
    name, colon, port = host.rpartition(b":")
    return (name if colon and port.isdigit() else host).lower()


def _has_body(headers: dict[bytes, bytes]) -> bool:
    return headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers
