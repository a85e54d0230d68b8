"""The table of openings, row by row, without I/O."""

from typing import Any

import msgspec
import pytest

from adapters.mcp.eras import Ask, Negotiation, Send, Step
from adapters.mcp.wire import WireError
from domain.model.servers import Era
from domain.ports.mcp import EndedOnProbe, HandshakeFailed, Peer

PROBE = Send(Ask.DISCOVER, "2026-07-28")
INITIALIZE = Send(Ask.INITIALIZE, "2025-11-25")
NO_METHOD = WireError(code=-32601, message="Method not found")


def raw(**result: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(result))


def unsupported(*versions: str) -> WireError:
    return WireError(code=-32022, data={"supported": list(versions)})


def discovered(*versions: str) -> msgspec.Raw:
    return raw(supportedVersions=list(versions), capabilities={"tools": {}})


INITIALIZED = raw(protocolVersion="2025-06-18", capabilities={}, serverInfo={"name": "old"})


def probing(era: Era | None = None) -> Negotiation:
    negotiation = Negotiation(era)
    assert negotiation.begin() == PROBE
    return negotiation


def era_of(step: Step) -> Era:
    assert isinstance(step, Peer)
    return step.era


def test_a_discover_result_with_a_mutual_version_is_modern() -> None:
    peer = probing().answered(Ask.DISCOVER, discovered("2026-07-28", "2031-01-01"))
    assert isinstance(peer, Peer)
    assert (peer.era, peer.protocol_version) == (Era.MODERN, "2026-07-28")
    assert peer.capabilities == {"tools": {}}


@pytest.mark.parametrize(
    "result", [discovered("2025-11-25"), discovered(), raw(tools=[]), msgspec.Raw(b"null")]
)
def test_any_other_result_of_the_probe_leads_to_initialize(result: msgspec.Raw) -> None:
    assert probing().answered(Ask.DISCOVER, result) == INITIALIZE


@pytest.mark.parametrize(
    "error",
    [
        NO_METHOD,
        WireError(code=-32602),
        WireError(code=-32000),
        WireError(code=-32022),
        WireError(code=-32022, data={"supported": "x"}),
        unsupported("2025-06-18", "2025-11-25"),
        unsupported("2031-01-01", "2025-11-25"),
    ],
)
def test_errors_of_a_legacy_server_lead_to_initialize(error: WireError) -> None:
    negotiation = probing()
    assert negotiation.refused(Ask.DISCOVER, error) == INITIALIZE
    assert era_of(negotiation.answered(Ask.INITIALIZE, INITIALIZED)) is Era.LEGACY


def test_a_mutual_version_in_a_refusal_is_tried_once_and_never_initialize() -> None:
    negotiation = probing()
    assert negotiation.refused(Ask.DISCOVER, unsupported("2026-07-28")) == PROBE
    again = negotiation.refused(Ask.DISCOVER, unsupported("2026-07-28"))
    assert isinstance(again, HandshakeFailed)


def test_disjoint_modern_versions_fail_and_are_shown() -> None:
    failed = probing().refused(Ask.DISCOVER, unsupported("2031-01-01"))
    assert isinstance(failed, HandshakeFailed)
    assert "2031-01-01" in failed.message


@pytest.mark.parametrize("code", [-32020, -32021])
def test_the_other_modern_errors_are_modern(code: int) -> None:
    assert era_of(probing().refused(Ask.DISCOVER, WireError(code=code))) is Era.MODERN


def test_an_error_without_an_id_counts_for_the_probe_alone() -> None:
    negotiation = probing()
    assert negotiation.refused(None, NO_METHOD) == INITIALIZE
    assert negotiation.refused(None, NO_METHOD) is None


def test_an_end_on_the_probe_asks_for_a_new_start() -> None:
    assert isinstance(probing().ended("eof"), EndedOnProbe)


def test_an_end_on_the_probe_of_a_slow_server_does_too() -> None:
    negotiation = probing()
    assert negotiation.unanswered() == INITIALIZE
    assert isinstance(negotiation.ended("eof"), EndedOnProbe)


def test_an_end_after_the_probe_was_answered_is_a_failure() -> None:
    negotiation = probing()
    negotiation.refused(Ask.DISCOVER, NO_METHOD)
    assert isinstance(negotiation.ended("eof"), HandshakeFailed)


def test_silence_brings_initialize_beside_the_probe_and_a_late_probe_wins() -> None:
    negotiation = probing()
    assert negotiation.unanswered() == INITIALIZE
    assert era_of(negotiation.answered(Ask.DISCOVER, discovered("2026-07-28"))) is Era.MODERN


def test_silence_brings_initialize_beside_the_probe_and_initialize_wins() -> None:
    negotiation = probing()
    assert negotiation.unanswered() == INITIALIZE
    assert era_of(negotiation.answered(Ask.INITIALIZE, INITIALIZED)) is Era.LEGACY


def test_a_late_refusal_of_the_probe_sends_no_second_initialize() -> None:
    negotiation = probing()
    assert negotiation.unanswered() == INITIALIZE
    assert negotiation.refused(Ask.DISCOVER, NO_METHOD) is None
    assert era_of(negotiation.answered(Ask.INITIALIZE, INITIALIZED)) is Era.LEGACY


def test_a_server_locked_modern_is_probed_once_more() -> None:
    negotiation = probing()
    negotiation.unanswered()
    assert negotiation.refused(Ask.INITIALIZE, unsupported("2026-07-28")) == PROBE
    assert era_of(negotiation.answered(Ask.DISCOVER, discovered("2026-07-28"))) is Era.MODERN


def test_a_refused_initialize_waits_for_a_probe_that_is_still_out() -> None:
    negotiation = probing()
    negotiation.unanswered()
    assert negotiation.refused(Ask.INITIALIZE, NO_METHOD) is None
    assert isinstance(negotiation.refused(Ask.DISCOVER, NO_METHOD), HandshakeFailed)


def test_an_answered_probe_is_not_taken_for_silence() -> None:
    negotiation = probing()
    negotiation.refused(Ask.DISCOVER, NO_METHOD)
    assert negotiation.unanswered() is None


def test_a_known_legacy_server_is_not_probed() -> None:
    negotiation = Negotiation(Era.LEGACY)
    assert negotiation.begin() == INITIALIZE
    assert isinstance(negotiation.ended("eof"), HandshakeFailed)


def test_a_server_that_was_legacy_and_is_now_modern_is_found() -> None:
    negotiation = Negotiation(Era.LEGACY)
    negotiation.begin()
    assert negotiation.refused(Ask.INITIALIZE, unsupported("2026-07-28")) == PROBE


def test_a_known_modern_server_is_given_its_time_and_no_end_makes_it_legacy() -> None:
    negotiation = probing(Era.MODERN)
    assert negotiation.unanswered() is None
    assert isinstance(negotiation.ended("eof"), HandshakeFailed)


@pytest.mark.parametrize(
    "result", [raw(protocolVersion="2026-07-28"), raw(protocolVersion="1"), raw(), raw(x=1)]
)
def test_an_initialize_result_without_a_known_version_fails(result: msgspec.Raw) -> None:
    negotiation = Negotiation(Era.LEGACY)
    negotiation.begin()
    assert isinstance(negotiation.answered(Ask.INITIALIZE, result), HandshakeFailed)
