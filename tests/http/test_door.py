"""Who may come in, checked on the bare door with raw requests."""

import pytest

from domain.model.callers import LOCAL, Scope
from entrypoints.http.door import Door, DoorRules, Phase
from entrypoints.http.visit import Message, Receive, Send
from tests.http.raw import HOST, JSON, Connection, asked, door_with, echo

pytestmark = pytest.mark.anyio


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


@pytest.mark.parametrize("path", ["/docs", "/api/v1/docs", "/docs/page.js", "/openapi.json"])
async def test_the_page_about_the_system_needs_no_key_and_gives_no_rights(path: str) -> None:
    async def app(scope: Message, _receive: Receive, send: Send) -> None:
        assert scope["state"]["caller"].scopes == frozenset()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    door = door_with(app, admin_key="secret")

    assert (await asked(door, path)).status == 200
    assert (await asked(door, f"{path}x")).status == 401
    assert (await asked(door, path, headers=[(b"host", b"evil")])).status == 403


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health-emergency"])
async def test_the_probes_are_only_read(path: str) -> None:
    answer = await asked(door_with(), path, method="DELETE")

    assert answer.status == 405
    assert answer.headers[b"allow"] == b"GET, HEAD"
    assert (await asked(door_with(), path, method="HEAD")).status == 200


async def test_without_a_key_the_caller_is_the_local_user() -> None:
    assert LOCAL.scopes == frozenset(Scope)
    assert (await asked(door_with())).body == b"local "


@pytest.mark.parametrize(
    ("session", "status"),
    [
        (b"a", 200),
        (b"!~" * 64, 200),
        (b"", 400),
        (b"a" * 129, 400),
        (b"a b", 400),
        (b"\xff", 400),
        (b"a\t", 400),
    ],
)
async def test_a_session_is_short_and_visible(session: bytes, status: int) -> None:
    seen = []

    async def app(scope: Message, _receive: Receive, send: Send) -> None:
        seen.append(scope["state"]["caller"])
        await echo(scope, _receive, send)

    door = door_with()
    door.open(app)
    answer = await asked(door, headers=[HOST, (b"sutazai-session", session)])

    assert answer.status == status
    if status == 200:
        assert [(caller.id, caller.session) for caller in seen] == [(LOCAL.id, session.decode())]
    else:
        assert (answer.kind, seen) == ("parameter-invalid", [])
    await asked(door)
    assert seen[-1].session == ""


async def test_a_sane_request_id_is_kept_and_another_is_replaced() -> None:
    kept = await asked(door_with(), headers=[HOST, (b"x-request-id", b"abc-1.2:3")])
    made = await asked(door_with(), headers=[HOST, (b"x-request-id", b"a b\xff")])
    second = await asked(door_with(), headers=[HOST])

    assert kept.headers[b"x-request-id"] == b"abc-1.2:3"
    assert made.headers[b"x-request-id"] not in {b"a b\xff", b""}
    assert second.headers[b"x-request-id"] != made.headers[b"x-request-id"]
    assert kept.headers[b"x-content-type-options"] == b"nosniff"
