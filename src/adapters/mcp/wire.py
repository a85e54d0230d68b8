"""JSON-RPC messages as MCP writes them, one a line, without I/O."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from adapters.mcp.unread import answered_id

MODERN_VERSIONS = ("2026-07-28",)
LEGACY_VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
# Both oldest first (MCP basic/versioning).

METHOD_NOT_FOUND = -32601
INTERNAL_ERROR = -32603
HEADER_MISMATCH = -32020
MISSING_CLIENT_CAPABILITY = -32021
UNSUPPORTED_VERSION = -32022

VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities"
CLIENT_KEY = "io.modelcontextprotocol/clientInfo"
SERVER_KEY = "io.modelcontextprotocol/serverInfo"
SUBSCRIPTION_KEY = "io.modelcontextprotocol/subscriptionId"
_OURS = frozenset({VERSION_KEY, CAPABILITIES_KEY, CLIENT_KEY, "progressToken"})
# What this hop says of itself; a caller's own values belong to the caller's hop.

NOT_OBJECT = "the server's answer is not an object"
UNREADABLE = "the server's answer is malformed, too large or nested too deeply to be read"


class Message(msgspec.Struct, frozen=True, gc=False):
    """Any message: a request has `method` and `id`, a notification `method`, an answer neither.

    `params` and `result` are JSON text, empty where absent; they keep their line alive.
    """

    jsonrpc: Literal["2.0"]
    id: int | str | None = None
    method: str | None = None
    params: msgspec.Raw = msgspec.Raw()
    result: msgspec.Raw = msgspec.Raw()
    error: Any = None


class WireError(msgspec.Struct, frozen=True, kw_only=True):
    """A JSON-RPC error as the peer wrote it; what is missing or of a wrong type is filled in."""

    code: int = INTERNAL_ERROR
    message: str = "the server gave no reason"
    data: Any = None


class _ResultHead(msgspec.Struct, frozen=True):
    result_type: str = msgspec.field(default="complete", name="resultType")


_message = msgspec.json.Decoder(Message)
_batch = msgspec.json.Decoder(list[msgspec.Raw])
_head = msgspec.json.Decoder(_ResultHead)
_encode = msgspec.json.Encoder().encode


def read_line(line: bytes) -> tuple[list[Message], int]:
    """The messages of one line and how many parts of it were none: banners, garbage, blanks.

    An answer that cannot be read counts among them, and is an error where it can be told to whom.
    Bytes that are no UTF-8 become U+FFFD: results are handed on as JSON text, which they are not.
    """
    if not line.isascii():
        line = _mended(line)
    try:
        return [_message.decode(line)], 0
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        parts = _batch.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        request_id = answered_id(line)
        return [] if request_id is None else [_unreadable(request_id)], 1
    messages = []
    for part in parts:
        try:
            messages.append(_message.decode(part))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
    return messages, max(1, len(parts)) - len(messages)


def _unreadable(request_id: int) -> Message:
    error = {"code": INTERNAL_ERROR, "message": UNREADABLE}
    return Message(jsonrpc="2.0", id=request_id, error=error)


def _mended(line: bytes) -> bytes:
    try:
        line.decode()
    except UnicodeDecodeError:
        return line.decode(errors="replace").encode()
    return line


def read_error(error: object) -> WireError:
    """The error of an answer, however badly formed."""
    if not isinstance(error, dict):
        return WireError()
    code, message = error.get("code"), error.get("message")
    return WireError(
        code=code if isinstance(code, int) else INTERNAL_ERROR,
        message=message if isinstance(message, str) and message else WireError().message,
        data=error.get("data"),
    )


def fault_of(result: msgspec.Raw) -> str | None:
    """Why a modern result cannot be handed on, None where it can (MCP basic: resultType)."""
    try:
        kind = _head.decode(result).result_type
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return NOT_OBJECT
    if kind == "complete":
        return None
    if kind == "input_required":
        return "the server asks for input of its user, which is not offered here"
    return "the server's answer is of a result type that is not known here"


def notification(method: str, params: Mapping[str, Any] | None = None) -> bytes:
    """A line that asks for no answer."""
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    if params is not None:
        message["params"] = params
    return _encode(message) + b"\n"


def answer_to(request: Message) -> bytes:
    """What a client that declared no capabilities says to a legacy server's request, no newline."""
    if request.method == "ping":
        return _encode({"jsonrpc": "2.0", "id": request.id, "result": {}})
    error = {"code": METHOD_NOT_FOUND, "message": "Method not found"}
    return _encode({"jsonrpc": "2.0", "id": request.id, "error": error})


def client_stamp(version: str, name: str, client_version: str) -> dict[str, Any]:
    """The `_meta` that every modern request carries."""
    return {
        VERSION_KEY: version,
        CAPABILITIES_KEY: {},
        CLIENT_KEY: {"name": name, "version": client_version},
    }


class RequestWriter:
    """Writes requests with what the era wants in `_meta`, the parameters encoded once."""

    def __init__(self, stamp: Mapping[str, Any] | None = None) -> None:
        self._stamp = dict(stamp or {})
        fixed = _encode(self._stamp)[1:-1]
        self._meta = b'"_meta":{%b}' % fixed if fixed else b""
        self._meta_with_token = b'"_meta":{%b"progressToken":' % (fixed + b"," if fixed else b"")

    def request(
        self,
        request_id: int,
        method: str,
        params: Mapping[str, Any],
        *,
        with_progress: bool = False,
    ) -> bytes:
        """One line. The progress token is the request's id: unique among all that are active."""
        meta = self._meta
        if "_meta" in params:
            params, meta = self._merged(request_id, params, with_progress=with_progress)
        elif with_progress:
            meta = b"%b%d}" % (self._meta_with_token, request_id)
        body = _encode(params if isinstance(params, dict) else dict(params))
        if b"\n" in body:
            # Only ready JSON text within can hold one; the line must not.
            body = msgspec.json.format(body, indent=-1)
        comma = b"," if meta and len(body) > len(b"{}") else b""
        head = b'{"jsonrpc":"2.0","id":%d,"method":%b,"params":{' % (request_id, _encode(method))
        return b"".join((head, meta, comma, memoryview(body)[1:], b"}\n"))

    def _merged(
        self, request_id: int, params: Mapping[str, Any], *, with_progress: bool
    ) -> tuple[dict[str, Any], bytes]:
        given = params["_meta"]
        meta = {key: value for key, value in given.items() if key not in _OURS}
        meta.update(self._stamp)
        if with_progress:
            meta["progressToken"] = request_id
        rest = {key: value for key, value in params.items() if key != "_meta"}
        encoded = _encode(meta)
        if b"\n" in encoded:
            encoded = msgspec.json.format(encoded, indent=-1)
        return rest, b'"_meta":%b' % encoded
