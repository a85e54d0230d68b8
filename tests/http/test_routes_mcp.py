"""Servers, tools and the bridge, over a real connection."""

import asyncio
from datetime import UTC, datetime

import httpx
import pytest

from tests.http.world import World

pytestmark = pytest.mark.anyio
CALL = "/api/v1/mcp/servers/toy/tools"


async def test_the_bridge_says_that_it_is_up(world: World) -> None:
    status = (await world.client.get("/api/v1/mcp/status")).json()

    assert status["status"] == "healthy"
    assert status["bridge_initialized"] is True
    assert status["service_count"] == 1
    assert status["dind_status"] == "disabled"
    assert status["states"] == {"ready": 1}
    assert status["timestamp"].endswith("Z")


async def test_every_server_has_its_health(world: World) -> None:
    said = (await world.client.get("/api/v1/mcp/health")).json()

    assert said["summary"] == {
        "total": 1,
        "healthy": 1,
        "unhealthy": 0,
        "percentage_healthy": 100.0,
    }
    toy = said["services"]["toy"]
    assert toy["state"] == "ready"
    assert toy["healthy"] is True
    assert toy["era"] == "modern"
    assert toy["limits"] == {
        "memory_mb": 2048,
        "processes": 128,
        "cpu_percent": None,
        "output_mb_per_s": None,
        "line_bytes": 16_777_216,
        "open_files": 4096,
        "calls": 64,
        "queue": 256,
    }


async def test_a_disabled_server_is_shown_and_not_counted_as_unhealthy(world: World) -> None:
    body = {"name": "off", "command": "toy", "start": "disabled"}
    assert (await world.client.post("/api/v1/mcp/servers", json=body)).status_code == 201

    said = (await world.client.get("/api/v1/mcp/health")).json()
    status = (await world.client.get("/api/v1/mcp/status")).json()

    assert said["services"]["off"]["state"] == "disabled"
    assert (said["summary"]["total"], said["summary"]["unhealthy"]) == (1, 0)
    assert (status["status"], status["service_count"]) == ("healthy", 2)
    assert status["states"] == {"ready": 1, "disabled": 1}


async def test_the_transports_view_counts_what_went_through(world: World) -> None:
    said = (await world.client.get("/api/v1/mcp/bridge/status")).json()

    assert said["session_count"] == 1
    assert said["bytes_out"] == 20
    assert said["sessions"]["toy"]["protocol_version"] == "2026-07-28"


async def test_a_servers_sessions_are_chosen_and_shown(world: World) -> None:
    lazy = {"command": "toy", "start": "lazy"}
    own = {"name": "mine", "sessions": "per_session", "max_instances": 2}
    mine = await world.client.post("/api/v1/mcp/servers", json=lazy | own)
    copies = {"name": "many", "replicas": 2}
    many = await world.client.post("/api/v1/mcp/servers", json=lazy | copies)
    kinds = ("sessions", "max_instances", "replicas", "balance")

    assert [mine.json()[kind] for kind in kinds] == ["per_session", 2, 1, None]
    assert [many.json()[kind] for kind in kinds] == ["shared", None, 2, "least_in_flight"]
    services = (await world.client.get("/api/v1/mcp/health")).json()["services"]
    assert {name: services[name]["instances"] for name in services} == {
        "many": {"idle": 2},
        "mine": {"idle": 1},
        "toy": {"ready": 1},
    }


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"replicas": 2, "sessions": "per_caller"}, "/replicas"),
        ({"balance": "sticky"}, "/balance"),
        ({"max_instances": 5}, "/max_instances"),
    ],
)
async def test_options_that_mean_nothing_together_are_refused(
    world: World, options: dict[str, object], path: str
) -> None:
    body = {"name": "odd", "command": "toy", **options}
    answer = await world.client.post("/api/v1/mcp/servers", json=body)

    assert (answer.status_code, answer.json()["path"]) == (422, path)


async def test_calls_of_two_sessions_are_two_instances(world: World) -> None:
    body = {"name": "mine", "command": "toy", "start": "lazy", "sessions": "per_session"}
    await world.client.post("/api/v1/mcp/servers", json=body)
    for session in ("a", "b"):
        headers = {"Sutazai-Session": session}
        call = "/api/v1/mcp/servers/mine/tools/echo"
        assert (await world.client.post(call, json={}, headers=headers)).status_code == 200

    said = (await world.client.get("/api/v1/mcp/bridge/status")).json()
    assert said["session_count"] == 3
    assert said["sessions"]["mine"]["session_count"] == 2
    mesh = (await world.client.get("/api/v1/mesh/services")).json()["services"]
    members = [each["member"] for each in mesh if each["name"] == "mine"]
    assert len(set(members)) == 2
    breakers = (await world.client.get("/api/v1/circuit-breakers")).json()["breakers"]
    assert [each["name"] for each in breakers].count("server:mine") == 1


async def test_secrets_of_a_server_are_masked(world: World) -> None:
    one = await world.client.get("/api/v1/mcp/servers/toy")
    every = await world.client.get("/api/v1/mcp/servers")

    assert "hush" not in one.text + every.text
    assert one.json()["env"] == {"TOKEN": "***"}
    assert one.json()["args"] == ["--api-key", "***", "x"]
    assert one.json()["log_tail"] == ["toy is up"]
    assert every.json()["total_count"] == 1
    assert every.json()["next_cursor"] is None


async def test_a_server_is_added_stopped_started_and_removed(world: World) -> None:
    body = {"name": "more", "command": "toy", "env": {"KEY": "hush"}}
    added = await world.client.post("/api/v1/mcp/servers", json=body)
    again = await world.client.post("/api/v1/mcp/servers", json=body)
    stopped = await world.client.post("/api/v1/mcp/servers/more/stop")
    started = await world.client.post("/api/v1/mcp/servers/more/start")
    restarted = await world.client.post("/api/v1/mcp/servers/more/restart")
    removed = await world.client.delete("/api/v1/mcp/servers/more")
    gone = await world.client.get("/api/v1/mcp/servers/more")

    assert added.status_code == 201
    assert added.json()["origin"] == "api"
    assert "hush" not in added.text
    assert again.status_code == 409
    assert stopped.json()["state"] == "stopped"
    assert started.status_code == restarted.status_code == 200
    assert started.json()["state"] == "starting"
    assert removed.status_code == 204
    assert gone.status_code == 404


async def test_a_server_of_a_file_is_not_removed_here(world: World) -> None:
    answer = await world.client.delete("/api/v1/mcp/servers/toy")

    assert answer.status_code == 409


@pytest.mark.parametrize(
    "body",
    [
        {"name": "x", "url": "ftp://127.0.0.1/mcp"},
        {"name": "x", "url": "http://127.0.0.1/mcp", "args": ["x"]},
        {"name": "x", "command": "toy", "headers": {"X": "1"}},
        {"name": "x", "image": "busybox", "cwd": "/"},
        {"name": "x"},
        {"name": "x", "command": "toy", "image": "busybox"},
        {"name": "x", "command": "toy", "arguments": {"DIR": ["/a"]}},
        {"known": "files", "command": "toy", "arguments": {"DIR": ["/a"]}},
    ],
)
async def test_other_forms_of_servers_are_refused_by_name(
    world: World, body: dict[str, str]
) -> None:
    answer = await world.client.post("/api/v1/mcp/servers", json=body)

    assert answer.status_code == 422
    assert answer.json()["supported"] == ["command", "url", "image", "known"]


async def test_a_known_server_is_added_with_its_parameters(world: World) -> None:
    body = {"known": "files", "arguments": {"DIR": ["/a", "/b"]}, "env": {"KEY": "hush"}}
    added = await world.client.post("/api/v1/mcp/servers", json=body)
    second = await world.client.post(
        "/api/v1/mcp/servers", json={"known": "files", "name": "more", "arguments": {"DIR": "/c"}}
    )

    assert (added.status_code, second.status_code) == (201, 201)
    shown = added.json()
    assert (shown["name"], shown["origin"], shown["start"]) == ("files", "api", "lazy")
    assert (shown["command"], shown["args"][2:]) == ("npx", ["/a", "/b"])
    assert shown["env"] == {"KEY": "***"}
    assert (second.json()["name"], second.json()["args"][2:]) == ("more", ["/c"])


@pytest.mark.parametrize(
    ("body", "missing"),
    [
        ({"known": "files"}, "DIR"),
        ({"known": "files", "arguments": {"DIRS": ["/a"]}}, "DIRS"),
        ({"known": "github"}, "GITHUB_PERSONAL_ACCESS_TOKEN"),
        ({"known": "nobody"}, "nobody"),
        ({"command": "toy"}, "name"),
    ],
)
async def test_what_a_server_lacks_is_named(
    world: World, body: dict[str, str], missing: str
) -> None:
    answer = await world.client.post("/api/v1/mcp/servers", json=body)

    assert answer.status_code == 422
    assert missing in answer.json()["detail"]


async def test_a_remote_server_is_kept_with_its_headers_masked(world: World) -> None:
    body = {
        "name": "far",
        "url": "http://u:pass@127.0.0.1:1/mcp",
        "headers": {"Authorization": "Bearer s3cret"},
        "start": "lazy",
        "limits": {"calls": 3},
    }
    answer = await world.client.post("/api/v1/mcp/servers", json=body)

    assert answer.status_code == 201
    shown = answer.json()
    assert (shown["command"], shown["url"]) == (None, "http://u:***@127.0.0.1:1/mcp")
    assert shown["headers"] == {"Authorization": "***"}
    assert shown["limits"]["calls"] == 3
    assert "s3cret" not in (await world.client.get("/api/v1/mcp/servers")).text


async def test_a_server_needs_a_plain_name(world: World) -> None:
    body = {"name": "Has Space", "command": "toy"}
    answer = await world.client.post("/api/v1/mcp/servers", json=body)

    assert answer.status_code == 422
    assert answer.json()["path"] == "/name"


async def test_tools_are_listed_in_parts(world: World) -> None:
    first = (await world.client.get("/api/v1/mcp/tools?limit=4")).json()
    rest = (await world.client.get(f"/api/v1/mcp/tools?cursor={first['next_cursor']}")).json()
    unknown = await world.client.get("/api/v1/mcp/tools?server=nobody")

    names = [tool["name"] for tool in first["tools"] + rest["tools"]]
    assert names == ["break", "echo", "fail", "hang", "misfit", "refuse"]
    assert first["total_count"] == rest["total_count"] == 6
    assert rest["next_cursor"] is None
    assert first["tools"][1] == {
        "server": "toy",
        "name": "echo",
        "full_name": "toy__echo",
        "input_schema": {"type": "object"},
        "description": "It echos.",
    }
    assert unknown.status_code == 404


async def test_a_call_passes_the_servers_bytes_on(world: World) -> None:
    answer = await world.client.post(f"{CALL}/echo", json={"a": 1})

    assert answer.status_code == 200
    assert answer.content.startswith(
        b'{"content":[ {"type":"text","text":"{\\"a\\":1}"} ],"structured_content":{ "got": 1 },'
    )
    said = answer.json()
    assert said["is_error"] is False
    assert said["duration_ms"] >= 0


async def test_a_call_without_a_body_has_no_arguments(world: World) -> None:
    answer = await world.client.post(f"{CALL}/echo")

    assert answer.json()["content"][0]["text"] == "{}"


@pytest.mark.parametrize(("body", "status"), [(b"[1]", 422), (b"7", 422), (b"{", 400)])
async def test_arguments_are_an_object(world: World, body: bytes, status: int) -> None:
    headers = {"content-type": "application/json"}
    answer = await world.client.post(f"{CALL}/echo", content=body, headers=headers)

    assert answer.status_code == status


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        (f"{CALL}/break", 502, "call-interrupted"),
        (f"{CALL}/misfit", 422, "peer-refused"),
        (f"{CALL}/refuse", 502, "peer-refused"),
        (f"{CALL}/absent", 404, "tool-not-found"),
        ("/api/v1/mcp/servers/nobody/tools/echo", 404, "server-not-found"),
        (f"{CALL}/echo?timeout_s=0", 400, "parameter-invalid"),
        (f"{CALL}/echo?timeout_s=3601", 400, "parameter-invalid"),
        (f"{CALL}/echo?timeout_s=nan", 400, "parameter-invalid"),
    ],
)
async def test_a_call_that_fails_says_how(world: World, path: str, status: int, kind: str) -> None:
    answer = await world.client.post(path, json={})

    assert answer.status_code == status
    assert answer.json()["type"] == f"urn:sutazai:problem:{kind}"


async def test_a_tools_own_failure_is_an_answer(world: World) -> None:
    answer = await world.client.post(f"{CALL}/fail", json={})

    assert answer.status_code == 200
    assert answer.json()["is_error"] is True


async def test_a_caller_that_leaves_cancels_its_call(world: World) -> None:
    with pytest.raises(httpx.ReadTimeout):
        await world.client.post(f"{CALL}/hang", json={}, timeout=0.2)

    async with asyncio.timeout(2):
        await world.connector.session.released.wait()


async def test_a_request_is_passed_on(world: World) -> None:
    body = {"server": "toy", "method": "prompts/list", "params": {}}
    answer = await world.client.post("/api/v1/mcp/execute", json=body)

    said = answer.json()
    assert answer.status_code == 200
    assert said["success"] is True
    assert said["result"] == {"method": "prompts/list"}
    assert "error" not in said


async def test_an_error_of_the_server_is_an_answer_of_execute(world: World) -> None:
    body = {"server": "toy", "method": "tools/call", "params": {"name": "refuse"}}
    answer = await world.client.post("/api/v1/mcp/execute", json=body)

    said = answer.json()
    assert answer.status_code == 200
    assert said["success"] is False
    assert said["error"] == {"code": -32000, "message": "not today", "data": {"why": "rain"}}


async def test_execute_refuses_other_methods(world: World) -> None:
    body = {"server": "toy", "method": "initialize", "params": {}}
    answer = await world.client.post("/api/v1/mcp/execute", json=body)

    assert answer.status_code == 422


async def test_changes_of_tools_are_shown_until_they_are_approved(world: World) -> None:
    trust = world.fleet.trust("toy")
    trust.listed(({"name": "echo", "description": "Another."},), datetime.now(UTC))

    health = (await world.client.get("/api/v1/mcp/health")).json()["services"]["toy"]
    server = (await world.client.get("/api/v1/mcp/servers/toy")).json()
    approved = await world.client.post("/api/v1/mcp/servers/toy/approve")

    assert health["alerts"] == server["alerts"]
    assert {alert["change"] for alert in health["alerts"]} == {"changed", "removed"}
    assert server["on_change"] == "alert"
    assert (approved.status_code, approved.json()["alerts"]) == (200, [])
    assert (await world.client.post("/api/v1/mcp/servers/no/approve")).status_code == 404


async def test_a_server_may_be_added_whose_changes_are_withheld(world: World) -> None:
    body = {"name": "careful", "command": "x", "start": "disabled", "on_change": "quarantine"}
    added = await world.client.post("/api/v1/mcp/servers", json=body)

    assert (added.status_code, added.json()["on_change"]) == (201, "quarantine")
