"""Lines out of bytes, however the bytes are cut."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from adapters.mcp.framing import GAP, LineSplitter

LIMIT = 8


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@given(st.lists(st.binary(max_size=2 * LIMIT)), st.lists(st.integers(min_value=0)))
def test_any_cutting_gives_the_same_lines(parts: list[bytes], places: list[int]) -> None:
    data = b"\n".join(parts)
    splitter = LineSplitter(LIMIT)
    lines = [line for chunk in cut(data, places) for line in splitter.feed(chunk)]
    lines += splitter.rest()
    whole = data.split(b"\n")
    ended = whole if whole[-1] else whole[:-1]
    assert lines == [line for line in ended if len(line) <= LIMIT]
    assert splitter.dropped == sum(len(line) > LIMIT for line in ended)


@given(
    st.binary(min_size=LIMIT + 1).filter(lambda line: b"\n" not in line),
    st.lists(st.integers(min_value=0)),
)
def test_the_ends_of_a_line_over_the_limit_are_kept(line: bytes, places: list[int]) -> None:
    splitter = LineSplitter(LIMIT, ends=3)
    lines = [one for chunk in cut(b"a\n%b\nb\n" % line, places) for one in splitter.feed(chunk)]
    assert lines == [b"a", line[:3] + GAP + line[-3:], b"b"]
    assert splitter.dropped == 1


def test_a_line_over_the_limit_is_not_kept_in_memory() -> None:
    splitter = LineSplitter(LIMIT)
    for _ in range(100):
        splitter.feed(b"x" * LIMIT)
    assert sum(len(part) for part in splitter._parts) <= LIMIT
    assert splitter.feed(b"\nnext\n") == [b"next"]
    assert splitter.dropped == 1
