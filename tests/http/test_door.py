"""Who may come in, checked on the bare door with raw requests."""

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from domain.errors import NotFound
from domain.model.callers import LOCAL, Scope
from entrypoints.http.door import Door, DoorRules, Phase
from entrypoints.http.visit import App, Message, Receive, Send

pytestmark = pytest.mark.anyio
HOST = (b"host", b"127.0.0.1:8000")
JSON = (b"content-type", b"application/json")


class Answer(msgspec.Struct):
    """What came out of the door."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes

    @property
    def kind(self) -> str:
        said: str = msgspec.json.decode(self.body)["type"].removeprefix("urn:sutazai:problem:")
        return said


class Connection:
    """The server's side of one request: `parts` of a body, then silence until `leave`."""

    def __init__(self, *parts: bytes) -> None:
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        for number, part in enumerate(parts, 1):
            more = number < len(parts)
            self._messages.put_nowait({"type": "http.request", "body": part, "more_body": more})
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        return await self._messages.get()

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    def leave(self) -> None:
        self._messages.put_nowait({"type": "http.disconnect"})


async def asked(
    door: Door,
    path: str = "/x",
    *,
    method: str = "GET",
    headers: Iterable[tuple[bytes, bytes]] = (HOST,),
    connection: Connection | None = None,
) -> Answer:
    connection = connection or Connection(b"")
    scope = {"type": "http", "method": method, "path": path, "headers": list(headers)}
    await door(scope, connection.receive, connection.send)
    head, *rest = connection.sent
    return Answer(head["status"], dict(head["headers"]), b"".join(part["body"] for part in rest))


async def echo(scope: Message, receive: Receive, send: Send) -> None:
    """Answers with who asked and what was sent."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    caller = scope["state"]["caller"].id.encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": caller + b" " + body})


def door_with(app: App = echo, **rules: Any) -> Door:
    door = Door(DoorRules(port=8000, **rules))
    door.open(app)
    return door


async def test_the_three_probes_answer_in_every_phase() -> None:
    door = Door(DoorRules(port=8000, admin_key="k"))
    seen = []
    for phase in Phase:
        if phase is Phase.READY:
            door.open(echo)
        if phase is Phase.DRAINING:
            door.closing()
        assert (await asked(door, "/livez")).status == 200
        emergency = await asked(door, "/health-emergency")
        assert emergency.status == 200
        seen.append((await asked(door, "/readyz")).status)
        assert phase.encode() in emergency.body
    assert seen == [503, 200, 503]


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.DRAINING])
async def test_nobody_comes_in_before_and_after(phase: Phase) -> None:
    door = Door(DoorRules(port=8000))
    if phase is Phase.DRAINING:
        door.open(echo)
        door.closing()

    answer = await asked(door)

    assert answer.status == 503
    assert answer.kind == "not-serving"
    assert int(answer.headers[b"retry-after"]) >= 1
    assert answer.headers[b"content-type"] == b"application/problem+json"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (b"localhost", 200),
        (b"LOCALHOST:8000", 200),
        (b"127.0.0.1:1", 200),
        (b"[::1]:8000", 200),
        (b"[::1]", 200),
        (b"my.host:443", 200),
        (b"evil.example", 403),
        (b"127.0.0.1.evil.example", 403),
        (b"localhost:80:80", 403),
        (b"", 400),
    ],
)
async def test_only_our_own_hosts_are_served(host: bytes, status: int) -> None:
    door = door_with(allowed_hosts=("My.Host",))

    assert (await asked(door, headers=[(b"host", host)])).status == status
    assert (await asked(door, "/livez", headers=[(b"host", host)])).status == status


async def test_exactly_one_host_is_named() -> None:
    assert (await asked(door_with(), headers=[])).status == 400
    assert (await asked(door_with(), headers=[HOST, HOST])).status == 400


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (b"http://127.0.0.1:8000", 200),
        (b"http://localhost:8000", 200),
        (b"http://[::1]:8000", 200),
        (b"https://app.example", 200),
        (b"http://localhost:3000", 403),
        (b"http://localhost", 403),
        (b"https://localhost:8000", 403),
        (b"http://app.example", 403),
        (b"null", 403),
        (b"", 403),
    ],
)
async def test_only_our_own_pages_may_ask(origin: bytes, status: int) -> None:
    door = door_with(allowed_origins=("https://app.example/",))

    assert (await asked(door, headers=[HOST, (b"origin", origin)])).status == status


@pytest.mark.parametrize(
    ("media_type", "status"),
    [
        (b"application/json", 200),
        (b"Application/JSON; charset=utf-8", 200),
        (b"text/plain", 415),
        (b"application/x-www-form-urlencoded", 415),
        (b"application/jsonx", 415),
        (b"", 415),
    ],
)
async def test_a_body_is_json(media_type: bytes, status: int) -> None:
    headers = [HOST, (b"content-length", b"2"), (b"content-type", media_type)]
    connection = Connection(b"{}")

    answer = await asked(door_with(), method="POST", headers=headers, connection=connection)

    assert answer.status == status


@pytest.mark.parametrize("extra", [[], [(b"content-length", b"0")]])
async def test_a_post_without_a_body_needs_no_type(extra: list[tuple[bytes, bytes]]) -> None:
    answer = await asked(door_with(), method="POST", headers=[HOST, *extra])

    assert (answer.status, answer.body) == (200, b"local ")


async def test_a_body_is_bounded_by_what_it_says_and_by_what_it_is() -> None:
    door = door_with(max_body_bytes=5)
    says = [HOST, JSON, (b"content-length", b"6")]
    is_ = [HOST, JSON, (b"transfer-encoding", b"chunked")]

    too_long = await asked(door, method="POST", headers=says, connection=Connection(b"123456"))
    too_much = await asked(door, method="POST", headers=is_, connection=Connection(b"123", b"456"))
    enough = await asked(door, method="POST", headers=is_, connection=Connection(b"123", b"45"))

    assert too_long.status == too_much.status == 413
    assert too_long.kind == "body-too-large"
    assert (enough.status, enough.body) == (200, b"local 12345")


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (b"Bearer secret", 200),
        (b"bearer  secret", 200),
        (b"Bearer secre", 401),
        (b"Basic secret", 401),
        (b"secret", 401),
        (None, 401),
    ],
)
async def test_a_configured_key_is_needed(given: bytes | None, status: int) -> None:
    headers = [HOST] if given is None else [HOST, (b"authorization", given)]

    answer = await asked(door_with(admin_key="secret"), headers=headers)

    assert answer.status == status
    if status == 401:
        assert answer.headers[b"www-authenticate"].startswith(b"Bearer")
        assert b"secret" not in answer.body
    else:
        assert answer.body == b"admin "


async def test_without_a_key_the_caller_is_the_local_user() -> None:
    assert LOCAL.scopes == frozenset(Scope)
    assert (await asked(door_with())).body == b"local "


async def test_a_sane_request_id_is_kept_and_another_is_replaced() -> None:
    kept = await asked(door_with(), headers=[HOST, (b"x-request-id", b"abc-1.2:3")])
    made = await asked(door_with(), headers=[HOST, (b"x-request-id", b"a b\xff")])
    second = await asked(door_with(), headers=[HOST])

    assert kept.headers[b"x-request-id"] == b"abc-1.2:3"
    assert made.headers[b"x-request-id"] not in {b"a b\xff", b""}
    assert second.headers[b"x-request-id"] != made.headers[b"x-request-id"]
    assert kept.headers[b"x-content-type-options"] == b"nosniff"


async def test_a_failure_that_nobody_handled_is_answered() -> None:
    async def lost(_scope: Message, _receive: Receive, _send: Send) -> None:
        raise NotFound("There is no such thing.", thing="x")

    answer = await asked(door_with(lost))

    assert answer.status == 404
    assert msgspec.json.decode(answer.body)["thing"] == "x"


async def test_an_unforeseen_failure_is_logged_and_not_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(_scope: Message, _receive: Receive, _send: Send) -> None:
        raise RuntimeError("hush")

    answer = await asked(door_with(broken))

    assert answer.status == 500
    assert b"hush" not in answer.body
    assert answer.headers[b"x-request-id"].decode() in caplog.text
    assert "hush" in caplog.text


class Waiting:
    """An application that waits for ever; `entered` and `left` tell where it is."""

    def __init__(self, *, started: bool = False) -> None:
        self._started = started
        self.entered = asyncio.Event()
        self.left = asyncio.Event()

    async def __call__(self, _scope: Message, _receive: Receive, send: Send) -> None:
        if self._started:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        self.entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.left.set()


async def test_a_caller_that_leaves_ends_its_request() -> None:
    app, connection = Waiting(), Connection()
    door = door_with(app)
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [HOST]}
    request = asyncio.create_task(door(scope, connection.receive, connection.send))
    await app.entered.wait()
    assert door.open_responses == 1

    connection.leave()
    async with asyncio.timeout(2):
        await request

    assert app.left.is_set()
    assert connection.sent == []
    assert door.open_responses == 0


async def test_an_application_may_wait_for_its_caller_to_leave() -> None:
    async def until_gone(_scope: Message, receive: Receive, _send: Send) -> None:
        assert (await receive())["type"] == "http.request"
        assert (await receive())["type"] == "http.disconnect"

    connection = Connection()
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [HOST]}
    request = asyncio.create_task(door_with(until_gone)(scope, connection.receive, connection.send))
    connection.leave()

    async with asyncio.timeout(2):
        await request


async def test_a_body_that_comes_slowly_is_not_taken_for_a_caller_that_left() -> None:
    connection = Connection()
    headers = [HOST, JSON, (b"transfer-encoding", b"chunked")]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
    door = door_with()
    request = asyncio.create_task(door(scope, connection.receive, connection.send))
    await asyncio.sleep(0.12)  # longer than the watch waits before it looks
    connection._messages.put_nowait({"type": "http.request", "body": b"{}", "more_body": False})

    async with asyncio.timeout(2):
        await request

    assert connection.sent[-1]["body"] == b"local {}"


async def test_a_caller_that_leaves_in_mid_body_ends_its_request_in_silence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    connection = Connection()
    headers = [HOST, JSON, (b"content-length", b"9")]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
    door = door_with()
    connection.leave()

    async with asyncio.timeout(2):
        await door(scope, connection.receive, connection.send)

    assert connection.sent == []
    assert door.open_responses == 0
    assert not caplog.records


@pytest.mark.parametrize("started", [False, True])
async def test_who_outstays_the_drain_is_cancelled_and_told(*, started: bool) -> None:
    app, connection = Waiting(started=started), Connection()
    door = door_with(app)
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [HOST]}
    request = asyncio.create_task(door(scope, connection.receive, connection.send))
    await app.entered.wait()

    door.closing()
    late = await door.emptied(timedelta(seconds=0.05))
    await request

    assert late == 1
    assert app.left.is_set()
    assert connection.sent[0]["status"] == (200 if started else 503)


async def test_an_empty_house_is_drained_at_once() -> None:
    door = door_with()
    async with asyncio.timeout(0.5):
        assert await door.emptied(timedelta(seconds=60)) == 0


async def test_a_cancel_from_elsewhere_goes_through() -> None:
    app, connection = Waiting(), Connection()
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [HOST]}
    request = asyncio.create_task(door_with(app)(scope, connection.receive, connection.send))
    await app.entered.wait()

    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
