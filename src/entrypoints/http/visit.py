"""One request on its way through the door: its body, its connection and its answer."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

from domain.errors import Failure
from entrypoints.http.problems import (
    BodyBroken,
    BodyTooLarge,
    BodyTooSlow,
    InternalFault,
    NotServing,
    problem_of,
)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]

BODY_PATIENCE = timedelta(seconds=60)
# All the waiting for one body; who drips it in would keep a connection from others for ever.
WATCH_AFTER_S = 0.05
# Quick requests are over by then and never pay for a watcher of their connection.
STOPPING_RETRY = timedelta(seconds=5)
# Whoever replaces this process has to start first.
DISCARD_BYTES = 64 * 1024 * 1024
DISCARD_S = 1.0
# Enough for a client on this machine that does not ask first; longer would serve an attacker.
NOSNIFF = (b"x-content-type-options", b"nosniff")

logger = logging.getLogger(__name__)


class Visit:
    """Stands between the server and the application for one request.

    `fields` are header fields that its answer gets whatever it says.
    """

    __slots__ = (
        "_body_left",
        "_cancelled",
        "_gone",
        "_max_body_bytes",
        "_patience_s",
        "_read",
        "_receive",
        "_send",
        "_started",
        "_timer",
        "_waited_s",
        "_waiting",
        "_watcher",
        "fields",
        "request_id",
        "task",
    )

    def __init__(self, receive: Receive, send: Send, request_id: str) -> None:
        self.request_id = request_id
        self.fields: list[tuple[bytes, bytes]] = []
        self.task: asyncio.Task[Any] | None = None
        self._receive = receive
        self._send = send
        self._max_body_bytes = self._body_left = 0
        self._read = self._started = self._cancelled = self._gone = self._waiting = False
        self._waited_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None

    async def through(
        self,
        app: App,
        scope: Message,
        max_body_bytes: int,
        body_patience: timedelta,
    ) -> None:
        """Let `app` answer. When its caller leaves or `cancel` is called, it is cancelled."""
        self._max_body_bytes = self._body_left = max_body_bytes
        self._patience_s = body_patience.total_seconds()
        self.task = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER_S, self._watch_if_read)
        try:
            await app(scope, self.receive, self.send)
        except asyncio.CancelledError:
            too_slow = self._waiting and self._waited_s >= self._patience_s
            if self.task is None or not (self._cancelled or self._gone or too_slow):
                raise
            self.task.uncancel()
            stopping = NotServing("The system is stopping.", retry_after=STOPPING_RETRY)
            late = BodyTooSlow("The body did not come in time.")
            await self._give_up(late if too_slow else stopping)
        except Failure as failure:
            await self._give_up(failure)
        except Exception:
            logger.exception("Request %s failed.", self.request_id)
            await self._give_up(InternalFault("The system failed; its log says why."))
        finally:
            self._timer.cancel()
            if self._watcher is not None:
                self._watcher.cancel()

    def cancel(self) -> None:
        """End the handler; its caller is told so where nothing was sent yet."""
        if self.task is not None:
            self._cancelled = True
            self.task.cancel()

    async def receive(self) -> Message:
        """The next part of the body, counted; after the body only the caller's leaving."""
        if self._read:
            await asyncio.shield(self._watch())
            return {"type": "http.disconnect"}
        if self._max_body_bytes == 0:
            self._read = True
            return {"type": "http.request", "body": b"", "more_body": False}
        self._waiting = True
        message = await self._receive()
        self._waiting = False
        if message["type"] == "http.disconnect":
            self._read = True
            # Who left hears nothing of it; who framed the body wrongly is still there.
            raise BodyBroken("The body broke off before its end.")
        self._body_left -= len(message["body"])
        self._read = not message["more_body"]
        if self._body_left < 0:
            self._read = True
            await self.discard()
            limit = self._max_body_bytes
            raise BodyTooLarge(f"At most {limit} bytes are taken.", max_body_bytes=limit)
        return message

    async def send(self, message: Message) -> None:
        """Pass a part of the answer on; its head gets what every answer carries."""
        if message["type"] == "http.response.start":
            self._started = True
            if self._max_body_bytes and not self._read:
                await self._read_on()
            message["headers"] = [
                *message["headers"],
                *self.fields,
                (b"x-request-id", self.request_id.encode()),
                NOSNIFF,
            ]
        await self._send(message)

    async def refuse(self, failure: Failure) -> None:
        """Answer with a problem."""
        problem = problem_of(failure, self.request_id)
        headers = [(name.encode(), value.encode()) for name, value in problem.headers]
        await self.answer(problem.status, problem.body, headers)

    async def answer(
        self, status: int, body: bytes, headers: list[tuple[bytes, bytes]] | None = None
    ) -> None:
        """Send a whole answer; JSON where its headers say nothing else."""
        headers = headers or [(b"content-type", b"application/json")]
        headers.append((b"content-length", b"%d" % len(body)))
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})

    async def _read_on(self) -> None:
        """An answer that does not wait for the body: what is left of it would spoil the next."""
        self._read = True
        await self.discard()

    async def discard(self) -> None:
        """Read on for a while: a client that is still sending would not see the answer."""
        left = DISCARD_BYTES
        with suppress(TimeoutError):
            async with asyncio.timeout(DISCARD_S):
                while left > 0:
                    message = await self._receive()
                    if message["type"] == "http.disconnect" or not message["more_body"]:
                        return
                    left -= len(message["body"])

    async def _give_up(self, failure: Failure) -> None:
        if not self._started and not self._gone:
            await self.refuse(failure)

    def _watch_if_read(self) -> None:
        """Watch the connection once nobody reads the body from it any more."""
        if self._read or self._max_body_bytes == 0:
            self._watch()
            return
        if self._waiting:
            self._waited_s += WATCH_AFTER_S
        if self._waited_s >= self._patience_s and self.task is not None:
            self.task.cancel()
        else:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(WATCH_AFTER_S, self._watch_if_read)

    def _watch(self) -> asyncio.Task[None]:
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._until_gone())
        return self._watcher

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._leave()

    def _leave(self) -> None:
        self._gone = True
        if self.task is not None:
            self.task.cancel()
