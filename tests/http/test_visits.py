"""What becomes of those inside: failures, callers that leave, the end of the system."""

import asyncio
from datetime import timedelta

import msgspec
import pytest

from domain.errors import NotFound
from entrypoints.http.visit import Message, Receive, Send
from tests.http.raw import HOST, JSON, Connection, asked, door_with

pytestmark = pytest.mark.anyio


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


async def test_a_body_that_breaks_off_is_told_to_whoever_is_still_there(
    caplog: pytest.LogCaptureFixture,
) -> None:
    connection = Connection()
    headers = [HOST, JSON, (b"content-length", b"9")]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
    door = door_with()
    connection.leave()

    async with asyncio.timeout(2):
        await door(scope, connection.receive, connection.send)

    assert connection.sent[0]["status"] == 400
    assert b"body-broken" in connection.sent[1]["body"]
    assert door.open_responses == 0
    assert not caplog.records


async def test_a_body_that_drips_in_is_given_up() -> None:
    connection = Connection()
    headers = [HOST, JSON, (b"content-length", b"99")]
    door = door_with(body_patience=timedelta(seconds=0.2))

    async with asyncio.timeout(5):
        answer = await asked(door, method="POST", headers=headers, connection=connection)

    assert (answer.status, answer.kind) == (408, "body-too-slow")


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
