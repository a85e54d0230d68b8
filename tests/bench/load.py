"""A load of equal POST requests over a fixed number of kept-alive connections."""

import asyncio
import statistics
import time
from typing import cast

import msgspec


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What one load came to; latencies in milliseconds."""

    calls_per_s: float
    p50_ms: float
    p99_ms: float


def measured(latencies: list[float], seconds: float) -> Measured:
    """From each call's seconds and the length of the load."""
    cuts = statistics.quantiles(latencies, n=100)
    return Measured(
        calls_per_s=len(latencies) / seconds, p50_ms=cuts[49] * 1000, p99_ms=cuts[98] * 1000
    )


class _Connection(asyncio.Protocol):
    """Sends the request again as soon as its answer is whole, until the end."""

    def __init__(self, request: bytes, until: float, latencies: list[float]) -> None:
        self._request = request
        self._until = until
        self._latencies = latencies
        self._held = b""
        self._sent_at = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._held += data
        head_end = self._held.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = self._held[:head_end].lower()
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        if len(self._held) < head_end + 4 + length:
            return
        if b" 200 " not in head[:16]:
            self._end(AssertionError(self._held.decode()))
            return
        self._held = b""
        now = time.perf_counter()
        self._latencies.append(now - self._sent_at)
        if now < self._until:
            self._send()
        else:
            self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or ConnectionError("the server closed the connection"))

    def _end(self, error: Exception | None) -> None:
        if not self.done.done():
            if error is None:
                self.done.set_result(None)
            else:
                self.done.set_exception(error)
        self._transport.close()


async def post_load(port: int, path: str, connections: int, seconds: float) -> Measured:
    """Load `path` on this machine for `seconds` and measure."""
    body = b'{"text":"hello"}'
    request = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    latencies: list[float] = []
    begun = time.perf_counter()
    loop = asyncio.get_running_loop()
    opened = [
        await loop.create_connection(
            lambda: _Connection(request, begun + seconds, latencies), "127.0.0.1", port
        )
        for _ in range(connections)
    ]
    await asyncio.gather(*(protocol.done for _, protocol in opened))
    return measured(latencies, time.perf_counter() - begun)
