"""Whose an answer is that cannot be read."""

import pytest

from adapters.mcp.framing import GAP
from adapters.mcp.unread import answered_id
from adapters.mcp.wire import INTERNAL_ERROR, read_line

DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc":"2.0","id":7,"result":' + DEEP + b"}",
        b'{"id":7,"jsonrpc":"2.0","result":' + DEEP + b"}",
        b'{"result":' + DEEP + b',"jsonrpc":"2.0","id":7}',
        b'{"jsonrpc":"2.0","result":' + DEEP + b',"id":7}\r',
        b' { "jsonrpc" : "2.0" , "id" : 7 , "error" : ' + DEEP + b"}",
        b'{"result":{"x":"' + GAP + b'"},"id":7,"jsonrpc":"2.0"}',
        b'{"jsonrpc":"2.0","id":7,"result":{"x":"' + GAP + b'"},"id":8}',
        b'{"jsonrpc":"2.0","id":7,"result":{"not json',
    ],
)
def test_an_unreadable_answer_is_an_error_to_its_request(line: bytes) -> None:
    (message,), noise = read_line(line)
    assert (message.id, message.method, message.error["code"]) == (7, None, INTERNAL_ERROR)
    assert noise == 1


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"Listening: id 7",
        b'{"jsonrpc":"2.0","id":7,"method":"sampling/createMessage","params":' + DEEP + b"}",
        b'{"method":"x","params":' + DEEP + b',"jsonrpc":"2.0","id":7}',
        b'{"result":{"x":' + DEEP + b',"id":7}}',
        b'{"result":"' + GAP + b',\\"id\\":7}"}',
        b'{"jsonrpc":"2.0","id":"7","result":' + DEEP + b"}",
        b'{"jsonrpc":"2.0","id":' + b"7" * 100 + b',"result":' + DEEP + b"}",
    ],
)
def test_where_it_cannot_be_told_nobody_is_answered(line: bytes) -> None:
    assert answered_id(line) is None
    assert read_line(line) == ([], 1)
