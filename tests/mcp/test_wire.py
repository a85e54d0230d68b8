"""Messages as bytes: what is written is one line, what is read may be anything."""

import json
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.mcp.wire import RequestWriter, client_stamp, fault_of, read_error, read_line

STAMP = client_stamp("2026-07-28", "tester", "1")
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
params = st.dictionaries(st.text().filter(lambda key: key != "_meta"), json_values)


@given(st.text(), params, st.sampled_from([STAMP, {}]), st.sampled_from([True, False]))
def test_a_request_is_one_line_of_json_with_its_stamp(
    method: str,
    own: dict[str, Any],
    stamp: dict[str, Any],
    with_progress: bool,  # noqa: FBT001 - drawn
) -> None:
    line = RequestWriter(stamp).request(7, method, own, with_progress=with_progress)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    meta = stamp | ({"progressToken": 7} if with_progress else {})
    stamped = own | ({"_meta": meta} if meta else {})
    assert json.loads(line) == {"jsonrpc": "2.0", "id": 7, "method": method, "params": stamped}


def test_a_callers_own_meta_is_kept_but_not_what_belongs_to_its_hop() -> None:
    own = {"traceparent": "00-1", "progressToken": "theirs", **client_stamp("1", "them", "0")}
    modern = json.loads(RequestWriter(STAMP).request(1, "m", {"_meta": own, "a": 1}))["params"]
    assert modern == {"_meta": {"traceparent": "00-1", **STAMP}, "a": 1}
    legacy = json.loads(RequestWriter().request(1, "m", {"_meta": own}, with_progress=True))
    assert legacy["params"] == {"_meta": {"traceparent": "00-1", "progressToken": 1}}


def test_ready_json_with_newlines_still_makes_one_line() -> None:
    arguments = msgspec.Raw(b'{\n "a": 1\n}')
    line = RequestWriter(STAMP).request(1, "m", MappingProxyType({"arguments": arguments}))
    assert line.count(b"\n") == 1
    assert json.loads(line)["params"]["arguments"] == {"a": 1}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\r",
        b"Server listening on stdio",
        b"\xff\xfe",
        b'{"level":"info","id":1}',
        b'{"jsonrpc":"1.0","id":1,"result":{}}',
        b'{"jsonrpc":"2.0","id":true,"result":{}}',
        b'{"jsonrpc":"2.0","id":1,"res',
        b"[]",
        b"[" * 100_000,
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":' + b"[" * 100_000,
    ],
)
def test_what_is_no_message_is_counted(line: bytes) -> None:
    assert read_line(line) == ([], 1)


def test_the_good_parts_of_a_batch_are_read() -> None:
    messages, noise = read_line(b'[{"jsonrpc":"2.0","id":1,"result":{}}, 5]\r')
    assert [message.id for message in messages] == [1]
    assert noise == 1


def test_a_malformed_error_is_still_an_error() -> None:
    assert read_error("boom").code == -32603
    assert read_error({"code": "x", "message": 3}).message == "the server gave no reason"
    assert read_error({"code": -1, "message": "no", "data": [1]}).data == [1]


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (b"{}", None),
        (b'{"resultType":"complete","x":[1]}', None),
        (b'{"resultType":"input_required"}', "input"),
        (b'{"resultType":"dream"}', "not known"),
        (b'{"resultType":1}', "not an object"),
        (b"[]", "not an object"),
        (b"", "not an object"),
    ],
)
def test_a_modern_result_is_complete_or_is_refused(result: bytes, words: str | None) -> None:
    fault = fault_of(msgspec.Raw(result))
    assert fault is None if words is None else words in str(fault)
