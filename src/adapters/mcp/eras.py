"""Which era a server is of: the opening of a session as a table, without I/O.

Source of the rows: MCP 2026-07-28, basic/transports/stdio, backward compatibility. What the
specification leaves open is decided for the side that still yields a session.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from adapters.mcp.wire import (
    HEADER_MISMATCH,
    LEGACY_VERSIONS,
    MISSING_CLIENT_CAPABILITY,
    MODERN_VERSIONS,
    SERVER_KEY,
    UNSUPPORTED_VERSION,
    WireError,
)
from domain.model.servers import Era
from domain.ports.mcp import EndedOnProbe, HandshakeFailed, Peer


class Ask(StrEnum):
    """The two openings."""

    DISCOVER = "server/discover"
    INITIALIZE = "initialize"


class Send(msgspec.Struct, frozen=True):
    """Send this opening with this protocol version."""

    ask: Ask
    version: str


Step = Send | Peer | HandshakeFailed | EndedOnProbe | None
# What follows an event: a message to send, the agreed peer, the failure, or to go on waiting.


class _Implementation(msgspec.Struct, frozen=True):
    name: str = ""
    version: str = ""


class _DiscoverResult(msgspec.Struct, frozen=True, rename="camel"):
    supported_versions: list[str]
    capabilities: dict[str, Any] = msgspec.field(default_factory=dict)
    instructions: str | None = None
    meta: dict[str, Any] | None = msgspec.field(default=None, name="_meta")


class _InitializeResult(msgspec.Struct, frozen=True, rename="camel"):
    protocol_version: str
    capabilities: dict[str, Any] = msgspec.field(default_factory=dict)
    server_info: _Implementation = _Implementation()
    instructions: str | None = None


class Negotiation:
    """Feed it what happens; it says what to do next. After a peer or a failure it is spent.

    With `era` None the server is probed. MODERN probes too but takes neither silence nor an end
    for a legacy server; LEGACY opens with `initialize`.
    """

    def __init__(self, era: Era | None) -> None:
        self._era = era
        self._waiting: set[Ask] = set()
        self._probes = 0
        self._initialized = False

    def begin(self) -> Step:
        """The first message."""
        return self._initialize() if self._era is Era.LEGACY else self._probe(MODERN_VERSIONS[-1])

    def answered(self, ask: Ask, result: msgspec.Raw) -> Step:
        """A result came for `ask`."""
        self._waiting.discard(ask)
        if ask is Ask.INITIALIZE:
            return _legacy_peer(result)
        return _modern_peer(result) or self._initialize()

    def refused(self, ask: Ask | None, error: WireError) -> Step:
        """An error came for `ask`, None where it named no request."""
        if ask is None:
            if self._waiting != {Ask.DISCOVER} or self._initialized:
                return None
            ask = Ask.DISCOVER
        self._waiting.discard(ask)
        supported = _supported(error)
        mutual = [version for version in MODERN_VERSIONS if version in supported]
        if ask is Ask.INITIALIZE:
            return self._not_initialized(error, mutual)
        if error.code in {HEADER_MISMATCH, MISSING_CLIENT_CAPABILITY}:
            return Peer(era=Era.MODERN, protocol_version=MODERN_VERSIONS[-1])
        if mutual and self._probes == 1:
            return self._probe(mutual[-1])
        if supported and not any(version in LEGACY_VERSIONS for version in supported):
            return _no_common_version(supported)
        return self._initialize()

    def unanswered(self) -> Step:
        """The time for the probe is over; a late answer to it still counts."""
        silent = self._era is None and Ask.DISCOVER in self._waiting
        return self._initialize() if silent else None

    def ended(self, reason: str) -> Step:
        """The stream has ended."""
        if self._era is None and self._probes == 1 and Ask.DISCOVER in self._waiting:
            return EndedOnProbe("the server ended when it was asked for its protocol era")
        return HandshakeFailed(f"the server ended during the handshake: {reason}")

    def _probe(self, version: str) -> Step:
        self._probes += 1
        self._waiting.add(Ask.DISCOVER)
        return Send(Ask.DISCOVER, version)

    def _initialize(self) -> Step:
        if self._initialized:
            return None if Ask.INITIALIZE in self._waiting else _refused_both()
        self._initialized = True
        self._waiting.add(Ask.INITIALIZE)
        return Send(Ask.INITIALIZE, LEGACY_VERSIONS[-1])

    def _not_initialized(self, error: WireError, mutual: list[str]) -> Step:
        """A slow modern server may have locked itself to the probe: ask it once more."""
        if error.code == UNSUPPORTED_VERSION and mutual and self._probes <= 1:
            return self._probe(mutual[-1])
        if Ask.DISCOVER in self._waiting:
            return None
        return HandshakeFailed(
            f"the server refused the handshake with error {error.code}", code=error.code
        )


def _supported(error: WireError) -> list[str]:
    data = error.data if error.code == UNSUPPORTED_VERSION else None
    listed = data.get("supported") if isinstance(data, Mapping) else None
    return [v for v in listed if isinstance(v, str)] if isinstance(listed, list) else []


def _modern_peer(result: msgspec.Raw) -> Peer | None:
    try:
        found = msgspec.json.decode(result, type=_DiscoverResult)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    mutual = [version for version in MODERN_VERSIONS if version in found.supported_versions]
    if not mutual:
        return None
    try:
        info = msgspec.convert((found.meta or {}).get(SERVER_KEY, {}), _Implementation)
    except msgspec.ValidationError:
        info = _Implementation()
    return Peer(
        era=Era.MODERN,
        protocol_version=mutual[-1],
        name=info.name,
        version=info.version,
        capabilities=found.capabilities,
        instructions=found.instructions or "",
    )


def _legacy_peer(result: msgspec.Raw) -> Peer | HandshakeFailed:
    try:
        found = msgspec.json.decode(result, type=_InitializeResult)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return HandshakeFailed("the server's answer to the handshake is malformed")
    if found.protocol_version not in LEGACY_VERSIONS:
        return _no_common_version([found.protocol_version])
    return Peer(
        era=Era.LEGACY,
        protocol_version=found.protocol_version,
        name=found.server_info.name,
        version=found.server_info.version,
        capabilities=found.capabilities,
        instructions=found.instructions or "",
    )


def _no_common_version(theirs: list[str]) -> HandshakeFailed:
    shown = ", ".join(version[:20] for version in theirs[:10])
    ours = ", ".join((*LEGACY_VERSIONS, *MODERN_VERSIONS))
    return HandshakeFailed(
        f"no protocol version in common: the server speaks {shown}; spoken here are {ours}",
        supported=tuple(theirs[:10]),
    )


def _refused_both() -> HandshakeFailed:
    return HandshakeFailed("the server refused both the probe and the handshake")
