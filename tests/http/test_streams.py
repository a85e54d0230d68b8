"""Event streams, sent to a raw connection."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from domain.errors import Unavailable
from domain.model.tasks import EventKind, TaskId
from domain.tasks.stream import StreamEvent
from entrypoints.http.streams import EventStream, encoded
from entrypoints.http.visit import Message

pytestmark = pytest.mark.anyio
TASK = TaskId("t1")


class Client:
    """Keeps what it is sent; `heard` is set with every frame."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.heard = asyncio.Event()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.body":
            self.frames.append(message["body"])
            self.heard.set()

    async def receive(self) -> Message:
        raise NotImplementedError

    async def follow(self, stream: EventStream) -> bytes:
        scope = {"type": "http", "state": {"request_id": "r1"}}
        async with asyncio.timeout(5):
            await stream(scope, self.receive, self.send)  # type: ignore[arg-type]
        return b"".join(self.frames)


class Events:
    """Yields what it is given, then waits for ever unless it `ends`; `closed` at its end."""

    def __init__(self, *events: StreamEvent | Exception, ends: bool = True) -> None:
        self._events = events
        self._ends = ends
        self.closed = False

    async def __call__(self) -> AsyncGenerator[StreamEvent, None]:
        try:
            for event in self._events:
                if isinstance(event, Exception):
                    raise event
                yield event
            if not self._ends:
                await asyncio.Event().wait()
        finally:
            self.closed = True


START = StreamEvent(id=1, kind=EventKind.START, data={"agent": "a"})
DONE = StreamEvent(id=3, kind=EventKind.DONE, data={})


async def test_only_stored_events_can_be_resumed_from() -> None:
    live = StreamEvent(id=1, kind=EventKind.TEXT, data={"text": "hi\n\nyou"}, live=True)
    events = Events(START, live, DONE)

    said = await Client().follow(EventStream(TASK, events(), asyncio.Event()))

    assert said == (
        b'event: start\nid: 1\ndata: {"id":1,"agent":"a","task_id":"t1"}\n\n'
        b'event: text\ndata: {"id":1,"text":"hi\\n\\nyou"}\n\n'
        b'event: done\nid: 3\ndata: {"id":3}\n\n'
    )
    assert events.closed


async def test_a_silent_stream_is_kept_alive() -> None:
    client, events = Client(), Events(ends=False)
    draining = asyncio.Event()
    stream = EventStream(TASK, events(), draining, keep_alive_s=0.01)
    following = asyncio.create_task(client.follow(stream))

    await client.heard.wait()
    draining.set()

    assert (await following).startswith(b": keep-alive\n\n")


async def test_a_stream_ends_with_a_word_when_the_system_stops() -> None:
    client, events = Client(), Events(START, ends=False)
    draining = asyncio.Event()
    following = asyncio.create_task(client.follow(EventStream(TASK, events(), draining)))

    await client.heard.wait()
    draining.set()
    said = await following

    data = {"reason": "the system is stopping", "resume": "/api/v1/tasks/t1/events"}
    assert said.endswith(encoded("shutdown", data))
    assert events.closed


async def test_whoever_leaves_leaves_nothing_behind() -> None:
    client, events = Client(), Events(START, ends=False)
    stream = EventStream(TASK, events(), asyncio.Event())
    before = asyncio.all_tasks()
    following = asyncio.create_task(client.follow(stream))
    await client.heard.wait()

    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following

    assert events.closed
    assert asyncio.all_tasks() == before


async def test_a_failure_in_mid_stream_is_an_event() -> None:
    events = Events(START, Unavailable("The store is away."))

    said = await Client().follow(EventStream(TASK, events(), asyncio.Event()))

    last = said.split(b"\n\n")[-2]
    assert last.startswith(b"event: error\ndata: ")
    assert b"The store is away." in last
    assert b'"request_id":"r1"' in last


async def test_an_unforeseen_failure_in_mid_stream_keeps_its_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    events = Events(START, RuntimeError("hush"))

    said = await Client().follow(EventStream(TASK, events(), asyncio.Event()))

    assert b"event: error\n" in said
    assert b"hush" not in said
    assert "hush" in caplog.text
    assert "r1" in caplog.text
