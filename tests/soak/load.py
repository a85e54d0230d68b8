"""A load over kept-alive connections that notes every answer and every one that is missing."""

import asyncio
import time
from array import array
from collections import Counter
from collections.abc import Sequence
from itertools import cycle
from typing import TypeAlias

DEADLINE_S = 5.0
# Of each call, told to the system; the calls themselves take milliseconds.
LATE_S = 1.0
# An answer may come so long after its deadline.
PAUSE_S = 0.02
# Between calls of a server that may be down: it is tried, not stormed.
BODY = b'{"text":"hello"}'

Latencies: TypeAlias = "array[float]"


class Load:
    """What became of the calls."""

    def __init__(self) -> None:
        self._latencies: Latencies = array("f")
        self.statuses: Counter[int] = Counter()
        self.under_way: dict[object, float] = {}
        self.longest_s = 0.0
        self._told: set[tuple[object, float]] = set()

    @property
    def answered(self) -> int:
        return sum(self.statuses.values())

    def window(self) -> Latencies:
        """Where the latencies, in seconds, go from now on until this is called again."""
        self._latencies = array("f")
        return self._latencies

    def note(self, status: int, latency: float) -> None:
        """One answer came."""
        self._latencies.append(latency)
        self.statuses[status] += 1
        self.longest_s = max(self.longest_s, latency)

    def overdue(self, limit_s: float) -> int:
        """How many calls waited longer than that and are not told yet, each once."""
        now = time.perf_counter()
        waiting = {
            (caller, since) for caller, since in self.under_way.items() if now - since > limit_s
        }
        new = waiting - self._told
        self._told |= new
        return len(new)


class Connection:
    """Calls `echo` of one server after another, as soon as the answer before is whole."""

    def __init__(
        self, load: Load, port: int, servers: Sequence[str], first: int, *, patient: bool = False
    ) -> None:
        self._load = load
        self._port = port
        turn = first % len(servers)
        self._servers = cycle([*servers[turn:], *servers[:turn]])
        self._patient = patient

    async def run(self) -> None:
        """Until cancelled; a connection that the system closes is a failure."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            while True:
                server = next(self._servers)
                begun = time.perf_counter()
                self._load.under_way[self] = begun
                writer.write(self._request(server))
                status = await _status(reader)
                self._load.note(status, time.perf_counter() - begun)
                if self._patient:
                    del self._load.under_way[self]
                    await asyncio.sleep(PAUSE_S)
        finally:
            writer.close()

    def _request(self, server: str) -> bytes:
        return (
            f"POST /api/v1/mcp/servers/{server}/tools/echo?timeout_s={DEADLINE_S} HTTP/1.1\r\n"
            f"Host: 127.0.0.1:{self._port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(BODY)}\r\n\r\n"
        ).encode() + BODY


async def _status(reader: asyncio.StreamReader) -> int:
    """Read one answer to its end."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    await reader.readexactly(length)
    return int(head.split(b" ", 2)[1])
