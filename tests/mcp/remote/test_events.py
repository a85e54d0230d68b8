"""Event streams are read whatever pieces they come in, and within bounds."""

import pytest

from adapters.mcp.remote.events import Events

STREAM = (
    b"\xef\xbb\xbf: hello\r\nid: 7\r\nretry: 1500\r\ndata: one\r\ndata:two\r\n\r\n"
    b"event: ping\ndata: x\n\ndata: three\r\rdata: unfinished"
)


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_events_are_whole_whatever_the_pieces(size: int) -> None:
    events = Events()
    pieces = [STREAM[at : at + size] for at in range(0, len(STREAM), size)]
    # A lone return may still be half of a line's end: it is seen with what follows.
    assert [data for piece in pieces for data in events.feed(piece)] == [b"one\ntwo", b"three"]
    assert (events.last_id, events.retry_s) == ("7", 1.5)


def test_an_event_without_data_only_says_where_to_go_on() -> None:
    events = Events()
    assert events.feed(b"id: a\ndata:\n\n") == []
    assert events.last_id == "a"
    events.feed(b"id:\n\n")
    assert events.last_id is None


def test_an_id_that_no_header_can_hold_is_left_out() -> None:
    events = Events()
    events.feed("id: \u00e9\n\nid: a\tb\n\n".encode())
    assert events.last_id is None


def test_a_new_stream_begins_afresh_and_knows_where_the_old_one_ended() -> None:
    events = Events()
    events.feed(b"id: 3\ndata: lo")
    events.restart()
    assert events.feed(b"data: whole\n\n") == [b"whole"]
    assert events.last_id == "3"


@pytest.mark.parametrize("large", [b"data: " + b"x" * 200, b"data: 123456789\n" * 12])
def test_an_event_over_the_limit_is_noticed_before_it_ends(large: bytes) -> None:
    events = Events(limit=100)
    assert events.feed(b"data: fits\n\n") == [b"fits"]
    assert not events.overflowed
    events.feed(large)
    assert events.overflowed


def test_a_server_cannot_make_the_client_come_back_at_once() -> None:
    events = Events()
    events.feed(b"retry: 0\n\n")
    assert events.retry_s > 0
