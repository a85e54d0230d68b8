"""The rules of an MCP server in both eras, without I/O: what to make of a message, how to answer.

Source: MCP 2026-07-28 (modern, one envelope a request) and 2024-11-05 to 2025-11-25 (legacy, one
handshake a session), basic and basic/versioning.
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

MODERN_VERSIONS = ("2026-07-28",)
LEGACY_VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
# Both oldest first.

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
UNSUPPORTED_VERSION = -32022

VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities"
SERVER_KEY = "io.modelcontextprotocol/serverInfo"

CACHEABLE = frozenset(
    {
        "server/discover",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "resources/read",
    }
)
# Their modern results must say how long and by whom they may be kept.
LEGACY_ONLY = frozenset(
    {
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "tasks/list",
        "tasks/result",
    }
)
# Removed from the modern era: answered as unknown, never passed on.

RequestId = int | str


class Refusal(Exception):
    """A JSON-RPC error that answers a request; `message` and `data` go out as they are."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


class Incoming(msgspec.Struct, frozen=True):
    """A client's message: a request with an id, else a notification."""

    jsonrpc: Literal["2.0"]
    method: str
    id: RequestId | msgspec.UnsetType = msgspec.UNSET
    params: dict[str, Any] = msgspec.field(default_factory=dict)

    @property
    def meta(self) -> dict[str, Any]:
        """`_meta` of the parameters, empty where there is none."""
        meta = self.params.get("_meta")
        return meta if isinstance(meta, dict) else {}

    @property
    def progress_token(self) -> RequestId | None:
        """What progress is to be reported under, None where nobody wants any."""
        token = self.meta.get("progressToken")
        return token if isinstance(token, int | str) else None


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What a server says of itself in either opening."""

    name: str
    version: str
    capabilities: Mapping[str, Any]
    instructions: str | None = None
    ttl_ms: int = 0
    cache_scope: Literal["public", "private"] = "private"

    @property
    def info(self) -> dict[str, str]:
        """The name and version as both eras show them."""
        return {"name": self.name, "version": self.version}


_incoming = msgspec.json.Decoder(Incoming)


def read(line: bytes) -> Incoming:
    """One message of a client.

    Raises:
        Refusal: not JSON, or no request or notification; batches are of 2025-03-26 alone and
            are not served.
    """
    try:
        return _incoming.decode(line)
    except msgspec.ValidationError:
        raise Refusal(INVALID_REQUEST, "Invalid request") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refusal(PARSE_ERROR, "Parse error") from None


def id_of(line: bytes) -> RequestId | None:
    """The id of a message that could not be read as one, None where it shows none."""
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    value = found.get("id") if isinstance(found, dict) else None
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


def is_modern(message: Incoming) -> bool:
    """Whether a message carries the modern envelope; `initialize` never does rightly."""
    return VERSION_KEY in message.meta or message.method == "server/discover"


def check_envelope(message: Incoming) -> None:
    """Hold a modern request against the rules that come before its method.

    Raises:
        Refusal: a required field is missing, the version is not served, or the method is one
            that the modern era has removed.
    """
    version = message.meta.get(VERSION_KEY)
    if not isinstance(version, str):
        raise Refusal(INVALID_PARAMS, f"Invalid params: _meta needs {VERSION_KEY}")
    if not isinstance(message.meta.get(CAPABILITIES_KEY), dict):
        raise Refusal(INVALID_PARAMS, f"Invalid params: _meta needs {CAPABILITIES_KEY}")
    if version not in MODERN_VERSIONS:
        supported = {"supported": list(MODERN_VERSIONS), "requested": version}
        raise Refusal(UNSUPPORTED_VERSION, "Unsupported protocol version", supported)
    if message.method in LEGACY_ONLY:
        raise method_not_found(message.method)


def method_not_found(method: str) -> Refusal:
    """The refusal of a method that is unknown, removed, or not offered."""
    return Refusal(METHOD_NOT_FOUND, f"Method not found: {method}")


def discovered(offer: Offer) -> dict[str, Any]:
    """The result of `server/discover`."""
    result: dict[str, Any] = {
        "supportedVersions": list(MODERN_VERSIONS),
        "capabilities": dict(offer.capabilities),
    }
    return result | ({"instructions": offer.instructions} if offer.instructions else {})


def initialized(message: Incoming, offer: Offer) -> dict[str, Any]:
    """The result of `initialize`: the version asked for, or the newest that is served here."""
    wanted = message.params.get("protocolVersion")
    if not isinstance(wanted, str):
        raise Refusal(INVALID_PARAMS, "Invalid params: protocolVersion is missing")
    result: dict[str, Any] = {
        "protocolVersion": wanted if wanted in LEGACY_VERSIONS else LEGACY_VERSIONS[-1],
        "capabilities": dict(offer.capabilities),
        "serverInfo": offer.info,
    }
    return result | ({"instructions": offer.instructions} if offer.instructions else {})


def modern_result(method: str, result: Mapping[str, Any], offer: Offer) -> dict[str, Any]:
    """A result with all that the modern era wants on it; `_meta` of the result is kept."""
    stamped: dict[str, Any] = {"resultType": "complete", **result}
    if method in CACHEABLE:
        stamped = {"ttlMs": offer.ttl_ms, "cacheScope": offer.cache_scope, **stamped}
    return stamped | {"_meta": {SERVER_KEY: offer.info, **stamped.get("_meta", {})}}


def answer(request_id: RequestId, result: Mapping[str, Any]) -> bytes:
    """The message that carries a result, without a newline."""
    return msgspec.json.encode({"jsonrpc": "2.0", "id": request_id, "result": result})


def refuse(request_id: RequestId | None, refusal: Refusal) -> bytes:
    """The message that carries an error, without a newline."""
    error: dict[str, Any] = {"code": refusal.code, "message": refusal.message}
    if refusal.data is not None:
        error["data"] = refusal.data
    return msgspec.json.encode({"jsonrpc": "2.0", "id": request_id, "error": error})


def notice(method: str, params: Mapping[str, Any]) -> bytes:
    """The message that asks for no answer, without a newline."""
    return msgspec.json.encode({"jsonrpc": "2.0", "method": method, "params": params})
