"""A peer that says far more than it was asked for: it takes time from nobody but itself."""

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from adapters.mcp.channel import UNASKED_LINES, Channel
from adapters.mcp.framing import LineSplitter
from adapters.mcp.listing import MAX_ITEMS, MAX_LIST_BYTES, Pages
from adapters.mcp.wire import Message
from domain.ports.mcp import ListingFailed
from tests.mcp.pipes import MemoryStream

pytestmark = pytest.mark.anyio

LINES = 20_000
ANSWER = b'{"jsonrpc":"2.0","id":1,"result":{}}'


class Ear:
    """Counts what comes; knows no request, as a session with nothing in flight."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.heard = 0
        self.reason = ""

    def receive(self, message: Message) -> None:
        self.heard += 1
        if message.method is None:
            self._channel.count_noise()

    def ended(self, reason: str) -> None:
        self.reason = reason


async def end_of(pieces: Iterable[bytes], line_bytes: int) -> Ear:
    """What a channel hears that takes lines of so many bytes."""
    stream = MemoryStream()
    channel = Channel(stream, line_bytes)
    ear = Ear(channel)
    channel.start(ear)
    for piece in pieces:
        stream.feed(piece)
    async with asyncio.timeout(5):
        await channel.wait_closed()
    return ear


LONG_ANSWER = b'{"jsonrpc":"2.0","id":1,"result":"%b"}' % (b"x" * 1000)


@pytest.mark.parametrize("long", [b"x" * 1001 + b"\n", b"x" * 2001, LONG_ANSWER + b"x" * 2000])
async def test_a_line_over_the_limit_that_answers_nobody_ends_the_channel(long: bytes) -> None:
    ear = await end_of((ANSWER + b"\n", LONG_ANSWER + b"\n", b"x" * 1000 + b"\n", long), 1000)
    assert ear.reason == "the server wrote a line of more than 1000 bytes"
    assert ear.heard == 2


async def turns_during(data: bytes) -> int:
    """How many turns others have at the loop while the channel takes in `data`."""
    stream = MemoryStream()
    channel = Channel(stream)
    ear = Ear(channel)
    channel.start(ear)
    stream.feed(data)
    stream.feed(b"")
    turns = 0
    async with asyncio.timeout(20):
        while not ear.reason:
            turns += 1
            await asyncio.sleep(0)
    await channel.close("over")
    return turns


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"x",
        b"{}",
        b'{"jsonrpc":"2.0","method":"notifications/message"}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping"}',
        ANSWER,
    ],
)
async def test_a_flood_leaves_turns_to_others(line: bytes) -> None:
    assert await turns_during((line + b"\n") * LINES) > LINES // UNASKED_LINES


async def test_a_line_without_end_leaves_turns_to_others() -> None:
    assert await turns_during(b"x" * (24 << 20)) > 24


def page(items: Any, **more: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode({"tools": items, **more}))


def test_a_list_of_too_many_items_is_refused() -> None:
    pages = Pages("tools/list", "tools")
    pages.add(page([{}] * MAX_ITEMS, nextCursor="a"))
    with pytest.raises(ListingFailed, match="too many items"):
        pages.add(page([{}]))


def test_a_list_of_too_many_bytes_is_refused_over_all_its_pages() -> None:
    pages = Pages("tools/list", "tools")
    half = [{"description": "x" * (MAX_LIST_BYTES // 2)}]
    pages.add(page(half, nextCursor="a"))
    with pytest.raises(ListingFailed, match="too many bytes"):
        pages.add(page(half))


def test_a_line_over_the_limit_is_known_as_such_before_its_end() -> None:
    splitter = LineSplitter(limit=3)
    splitter.feed(b"xxx")
    assert not splitter.overlong
    splitter.feed(b"x")
    assert splitter.overlong
    assert splitter.feed(b"\nab\n") == [b"ab"]
    assert not splitter.overlong
