"""Server-sent events (HTML Living Standard, section 9.2): a task's, and lines as they come."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import msgspec
from litestar.openapi.datastructures import ResponseSpec
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from domain.errors import Failure
from domain.model.tasks import EventKind, TaskId
from domain.tasks.stream import StreamEvent
from entrypoints.http.problems import InternalFault, problem_of

KEEP_ALIVE_S = 15.0
# Proxies close connections that were silent for 30 to 60 seconds.
MEDIA_TYPE = "text/event-stream"
EVENTS = ResponseSpec(
    str,
    generate_examples=False,
    media_type=MEDIA_TYPE,
    description="Events until `done` or `error`; each has JSON data",
)
# Examples would import a factory of them: 50 MB and a second.
HEADERS = {
    "content-type": f"{MEDIA_TYPE}; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}

logger = logging.getLogger(__name__)


class FrameStream(ASGIResponse):
    """Sends frames until they end, the caller leaves or the system stops.

    On stopping the last event is `shutdown`, with `farewell` beside its reason.
    """

    def __init__(
        self,
        frames: AsyncGenerator[bytes, None],
        draining: asyncio.Event,
        farewell: Mapping[str, Any],
        keep_alive_s: float = KEEP_ALIVE_S,
    ) -> None:
        super().__init__(headers=HEADERS, media_type=MEDIA_TYPE)
        self.headers.pop("content-length", None)
        self._frames = frames
        self._draining = draining
        self._farewell = farewell
        self._keep_alive_s = keep_alive_s
        self._sent = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send the stream; the door cancels this when the caller leaves."""
        await self.start_response(send)
        pump = asyncio.create_task(self._pump(send, scope["state"]["request_id"]))
        drain = asyncio.create_task(self._draining.wait())
        try:
            await self._until_end(send, pump, drain)
        finally:
            pump.cancel()
            drain.cancel()
            await asyncio.wait({pump, drain})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _until_end(
        self, send: Send, pump: asyncio.Task[None], drain: asyncio.Task[bool]
    ) -> None:
        while True:
            before = self._sent
            done, _ = await asyncio.wait(
                {pump, drain}, timeout=self._keep_alive_s, return_when=asyncio.FIRST_COMPLETED
            )
            if pump in done:
                pump.result()
                return
            if drain in done:
                pump.cancel()
                await asyncio.wait({pump})
                data = {"reason": "the system is stopping", **self._farewell}
                await self._send(send, encoded("shutdown", data))
                return
            if self._sent == before:
                await self._send(send, b": keep-alive\n\n")

    async def _pump(self, send: Send, request_id: str) -> None:
        """Pass every frame on; a failure in mid-stream is an `error` event."""
        try:
            async with aclosing(self._frames) as frames:
                async for frame in frames:
                    await self._send(send, frame)
        except Failure as failure:
            await self._fail(send, failure, request_id)
        except Exception:
            logger.exception("Request %s failed in its stream.", request_id)
            fault = InternalFault("The system failed; its log says why.")
            await self._fail(send, fault, request_id)

    async def _fail(self, send: Send, failure: Failure, request_id: str) -> None:
        problem = msgspec.json.decode(problem_of(failure, request_id).body)
        await self._send(send, encoded(EventKind.ERROR, {"id": None, **problem}))

    async def _send(self, send: Send, frame: bytes) -> None:
        await send({"type": "http.response.body", "body": frame, "more_body": True})
        self._sent += 1


class EventStream(FrameStream):
    """A task's events. The task goes on whoever leaves; the farewell says how to resume."""

    def __init__(
        self,
        task_id: TaskId,
        events: AsyncGenerator[StreamEvent, None],
        draining: asyncio.Event,
        keep_alive_s: float = KEEP_ALIVE_S,
    ) -> None:
        resume = {"resume": f"/api/v1/tasks/{task_id}/events"}
        super().__init__(_framed(task_id, events), draining, resume, keep_alive_s)


async def _framed(
    task_id: TaskId, events: AsyncGenerator[StreamEvent, None]
) -> AsyncGenerator[bytes, None]:
    async with aclosing(events):
        async for event in events:
            data = {"id": event.id, **event.data}
            if event.kind is EventKind.START:
                data["task_id"] = task_id
            yield encoded(event.kind, data, None if event.live else event.id)


async def log_frames(lines: AsyncGenerator[str, None]) -> AsyncGenerator[bytes, None]:
    """Lines of diagnostics as `log` events, their end as `done`."""
    async with aclosing(lines):
        async for line in lines:
            yield encoded("log", {"line": line})
    yield encoded(EventKind.DONE, {})


def encoded(kind: str, data: Mapping[str, Any], event_id: int | None = None) -> bytes:
    """One event; only what is stored has an id that a client may resume from."""
    line = b"" if event_id is None else b"id: %d\n" % event_id
    return b"event: %s\n%sdata: %s\n\n" % (kind.encode(), line, msgspec.json.encode(data))
