"""The bundled server, line by line: both eras, the right refusals, and tools that are right."""

import asyncio
import json
import queue
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.model.servers import Era
from domain.model.tools import CallTimedOut
from entrypoints.mcp.bundled import TOOLS, BundledServer
from tests.mcp.pipes import started
from tests.mcp.sessions import LONG, SHORT, call, opening, session_with

BUNDLED = ("-m", "entrypoints.mcp.bundled")
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


class Talk:
    """A conversation with the server's rules, without a process."""

    def __init__(self, *, handshaken: bool = False) -> None:
        self.said: queue.Queue[bytes] = queue.Queue()
        self.server = BundledServer(self.said.put)
        if handshaken:
            self.ask("initialize", protocolVersion="2025-11-25", capabilities={})

    def take(self, message: object) -> None:
        self.server.take(json.dumps(message).encode())

    def next(self) -> Any:
        return json.loads(self.said.get(timeout=5))

    def ask(self, method: str, /, **params: Any) -> Any:
        self.take({"jsonrpc": "2.0", "id": "q", "method": method, "params": params})
        return self.next()

    def ask_modern(self, method: str, /, **params: Any) -> Any:
        return self.ask(method, _meta=ENVELOPE, **params)

    def tool(self, name: str, **arguments: Any) -> Any:
        return self.ask_modern("tools/call", name=name, arguments=arguments)["result"]

    def gives(self, name: str, **arguments: Any) -> Any:
        result = self.tool(name, **arguments)
        assert result["isError"] is False, result
        assert json.loads(result["content"][0]["text"]) == result["structuredContent"]
        return result["structuredContent"]

    def mistake(self, name: str, **arguments: Any) -> str:
        result = self.tool(name, **arguments)
        assert result["isError"] is True
        text: str = result["content"][0]["text"]
        return text


def code_of(answer: Any) -> int:
    code: int = answer["error"]["code"]
    return code


def test_discover_offers_the_modern_era_alone() -> None:
    result = Talk().ask_modern("server/discover")["result"]
    assert result["supportedVersions"] == ["2026-07-28"]
    assert (result["resultType"], result["cacheScope"]) == ("complete", "public")
    assert result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "sutazai-bundled"


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        ("2024-11-05", "2024-11-05"),
        ("2025-06-18", "2025-06-18"),
        ("2026-07-28", "2025-11-25"),
        ("1", "2025-11-25"),
    ],
)
def test_initialize_grants_what_is_known_and_else_the_newest(wanted: str, given: str) -> None:
    result = Talk().ask("initialize", protocolVersion=wanted, capabilities={})["result"]
    assert result["protocolVersion"] == given


def test_modern_results_are_stamped_and_legacy_ones_are_not() -> None:
    modern = Talk().ask_modern("tools/list")["result"]
    legacy = Talk(handshaken=True).ask("tools/list")["result"]
    assert modern["tools"] == legacy["tools"]
    assert set(modern) - set(legacy) == {"resultType", "ttlMs", "cacheScope", "_meta"}


@pytest.mark.parametrize("method", ["initialize", "ping", "logging/setLevel", "no/such"])
def test_removed_and_unknown_methods_do_not_exist_in_the_modern_era(method: str) -> None:
    assert code_of(Talk().ask_modern(method)) == -32601


def test_an_unknown_version_is_told_what_is_supported() -> None:
    meta = ENVELOPE | {"io.modelcontextprotocol/protocolVersion": "2031-01-01"}
    error = Talk().ask("tools/list", _meta=meta)["error"]
    assert error["code"] == -32022
    assert error["data"] == {"supported": ["2026-07-28"], "requested": "2031-01-01"}


@pytest.mark.parametrize("missing", list(ENVELOPE))
def test_an_envelope_that_lacks_a_required_field_is_invalid(missing: str) -> None:
    meta = {key: value for key, value in ENVELOPE.items() if key != missing}
    assert code_of(Talk().ask("server/discover", _meta=meta)) == -32602


def test_a_legacy_client_opens_with_initialize() -> None:
    talk = Talk()
    assert code_of(talk.ask("tools/list")) == -32602
    assert talk.ask("ping")["result"] == {}
    assert Talk(handshaken=True).ask("tools/list")["result"]["tools"]


@pytest.mark.parametrize(
    ("line", "code", "request_id"),
    [
        (b"nonsense", -32700, None),
        (b"[1]", -32600, None),
        (b'{"jsonrpc":"2.0","id":7}', -32600, 7),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":"a","method":"ping","params":[]}', -32600, "a"),
    ],
)
def test_what_is_no_request_is_refused(line: bytes, code: int, request_id: object) -> None:
    talk = Talk()
    talk.server.take(line)
    answer = talk.next()
    assert (code_of(answer), answer["id"]) == (code, request_id)


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("tools/list", {"cursor": ""}),
        ("tools/call", {"name": "no_such_tool"}),
        ("tools/call", {}),
        ("tools/call", {"name": "echo", "arguments": ["x"]}),
    ],
)
def test_wrong_parameters_are_refused(method: str, params: dict[str, Any]) -> None:
    assert code_of(Talk().ask_modern(method, **params)) == -32602


def test_arguments_that_do_not_fit_are_told_to_the_model() -> None:
    talk = Talk()
    assert "text" in talk.mistake("echo")
    assert "loud" in talk.mistake("echo", text="x", loud=True)
    assert "60" in talk.mistake("wait", seconds=61)


def test_every_tool_is_described_closed_and_repeatable_but_wait() -> None:
    for tool in TOOLS.values():
        shown = tool.definition
        schema = shown["inputSchema"]
        assert schema["type"] == "object"
        assert schema["additionalProperties"] is False
        hinted = {"readOnlyHint", "idempotentHint"} & shown["annotations"].keys()
        assert len(hinted) == (0 if tool.name == "wait" else 2)
        assert "$ref" not in json.dumps(shown)
        assert len(shown["description"]) > 20


def test_the_current_time_is_the_present() -> None:
    shown = Talk().gives("current_time")
    told = datetime.fromisoformat(shown["datetime"])
    assert abs(datetime.now(UTC) - told) < timedelta(seconds=5)
    assert (shown["timezone"], shown["utc_offset"]) == ("UTC", "+00:00")


def test_a_time_is_converted_with_the_rules_of_its_day() -> None:
    talk = Talk()
    zones = {"from_timezone": "Europe/Berlin", "to_timezone": "America/New_York"}
    summer = talk.gives("convert_time", time="2026-07-01T12:00", **zones)
    between = talk.gives("convert_time", time="2026-03-10T12:00", **zones)
    assert summer["target"]["datetime"] == "2026-07-01T06:00:00-04:00"
    # America has changed its clocks by then, Europe has not.
    assert (summer["difference_hours"], between["difference_hours"]) == (-6, -5)
    assert talk.gives("convert_time", time="14:30", **zones)["source"]["datetime"][11:16] == "14:30"


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        ("2026-03-29T02:30", "does not exist"),
        ("2026-07-01T12:00Z", "no offset"),
        ("tomorrow", "ISO 8601"),
        ("0001-01-01T00:00", "out of range"),
    ],
)
def test_a_time_that_cannot_be_converted_is_a_mistake(moment: str, words: str) -> None:
    zones = {"from_timezone": "Europe/Berlin", "to_timezone": "America/New_York"}
    assert words in Talk().mistake("convert_time", time=moment, **zones)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "/etc/passwd", "Europe"])
def test_an_unknown_time_zone_is_a_mistake(zone: str) -> None:
    assert "Unknown time zone" in Talk().mistake("current_time", timezone=zone)


def test_the_difference_of_times_has_a_sign_and_parts() -> None:
    shown = Talk().gives(
        "time_difference", start="2026-01-02T03:04:05.5Z", end="2026-01-01T02:00:00+01:00"
    )
    assert shown["total_seconds"] == -93845.5
    parts = (shown["days"], shown["hours"], shown["minutes"], shown["seconds"])
    assert parts == (1, 2, 4, 5.5)
    assert "ISO 8601" in Talk().mistake("time_difference", start="x", end="y")


def test_text_is_counted_hashed_and_echoed() -> None:
    talk = Talk()
    counts = talk.gives("count_text", text="Grüße an\nalle\n")
    assert counts == {"characters": 14, "words": 3, "lines": 2, "utf8_bytes": 16}
    empty = talk.gives("hash_text", text="")["digest"]
    assert empty == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert talk.tool("echo", text="a\nb")["content"] == [{"type": "text", "text": "a\nb"}]


@pytest.mark.parametrize(
    ("transformation", "expected"),
    [
        ("upper", " B  A\nB  A "),
        ("reverse", " a  b\na  b "),
        ("trim", "b  a\nb  a"),
        ("collapse_whitespace", "b a b a"),
        ("sort_lines", " b  a\nb  a "),
        ("unique_lines", " b  a\nb  a "),
    ],
)
def test_text_is_transformed(transformation: str, expected: str) -> None:
    result = Talk().tool("transform_text", text=" b  a\nb  a ", transformation=transformation)
    assert result["content"][0]["text"] == expected


def test_text_is_found_literally_with_its_places() -> None:
    talk = Talk()
    shown = talk.gives("find_text", text="a.b\nA.B a.b axb", pattern="a.b")
    assert [(m["line"], m["column"], m["offset"]) for m in shown["matches"]] == [
        (1, 1, 0),
        (2, 5, 8),
    ]
    folded = talk.gives("find_text", text="a A a", pattern="a", ignore_case=True, limit=2)
    assert (folded["count"], len(folded["matches"])) == (3, 2)


def test_a_wait_lets_others_pass_reports_and_can_be_cancelled() -> None:
    talk = Talk(handshaken=True)
    params = {"name": "wait", "arguments": {"seconds": 60}, "_meta": {"progressToken": 5}}
    talk.take({"jsonrpc": "2.0", "id": "slow", "method": "tools/call", "params": params})
    assert talk.ask("ping") == {"jsonrpc": "2.0", "id": "q", "result": {}}
    report = talk.next()
    assert report["method"] == "notifications/progress"
    assert report["params"]["progressToken"] == 5
    talk.take(
        {
            "jsonrpc": "2.0",
            "method": "notifications/cancelled",
            "params": {"requestId": "slow"},
        }
    )
    for thread in threading.enumerate():
        if thread.name == "call slow":
            thread.join(5)
    assert not talk.server._running
    said = [json.loads(talk.said.get()) for _ in range(talk.said.qsize())]
    assert all(message.get("id") != "slow" for message in said)


@pytest.mark.anyio
@pytest.mark.parametrize("era", list(Era))
async def test_a_real_pipe_serves_many_waits_at_once(era: Era) -> None:
    async with session_with(*BUNDLED, how=opening(era)) as (session, _):
        start = time.monotonic()
        await asyncio.gather(*(call(session, "wait", seconds=0.3) for _ in range(20)))
        assert time.monotonic() - start < 2
        params = {"name": "wait", "arguments": {"seconds": 60}}
        with pytest.raises(CallTimedOut):
            await session.request("tools/call", params, timeout=SHORT)
        await session.request("tools/list", {}, timeout=LONG)
        assert session.traffic.noise_lines == 0


@pytest.mark.anyio
async def test_the_server_ends_with_its_input_even_in_mid_wait() -> None:
    async with started(*BUNDLED) as stream:
        process = stream.process
        params = {"name": "wait", "arguments": {"seconds": 60}, "_meta": ENVELOPE}
        request = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        await stream.write(json.dumps(request).encode() + b"\n")
        assert process.stdin is not None
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), 2) == 0
