"""Raw requests to a door, without a server."""

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec

from entrypoints.http.door import Door, DoorRules
from entrypoints.http.visit import App, Message, Receive, Send

HOST = (b"host", b"127.0.0.1:8000")
JSON = (b"content-type", b"application/json")


class Answer(msgspec.Struct):
    """What came out of the door."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes

    @property
    def kind(self) -> str:
        said: str = msgspec.json.decode(self.body)["type"].removeprefix("urn:sutazai:problem:")
        return said


class Connection:
    """The server's side of one request: `parts` of a body, then silence until `leave`."""

    def __init__(self, *parts: bytes) -> None:
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        for number, part in enumerate(parts, 1):
            more = number < len(parts)
            self._messages.put_nowait({"type": "http.request", "body": part, "more_body": more})
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        return await self._messages.get()

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    def leave(self) -> None:
        self._messages.put_nowait({"type": "http.disconnect"})


async def asked(
    door: Door,
    path: str = "/x",
    *,
    method: str = "GET",
    headers: Iterable[tuple[bytes, bytes]] = (HOST,),
    connection: Connection | None = None,
) -> Answer:
    connection = connection or Connection(b"")
    scope = {"type": "http", "method": method, "path": path, "headers": list(headers)}
    await door(scope, connection.receive, connection.send)
    head, *rest = connection.sent
    return Answer(head["status"], dict(head["headers"]), b"".join(part["body"] for part in rest))


async def echo(scope: Message, receive: Receive, send: Send) -> None:
    """Answers with who asked and what was sent."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    caller = scope["state"]["caller"].id.encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": caller + b" " + body})


def door_with(app: App = echo, **rules: Any) -> Door:
    door = Door(DoorRules(port=8000, **rules))
    door.open(app)
    return door
