"""Who makes a server crash, and who looks on meanwhile."""

import asyncio
import time

import httpx

from tests.bounds import Footprint, footprint
from tests.soak.load import DEADLINE_S, LATE_S, Latencies, Load

CRASHING = "crashing"
# The server's name.
CRASH_EVERY_S = 5.0


class Crasher:
    """Ends its server every few seconds, and wakes it where it would wait for long.

    `pairs` are the latencies of the others from each crash on, and from when it is over until
    the next one.
    """

    def __init__(self, base_url: str, load: Load) -> None:
        self._load = load
        self.pairs: list[tuple[Latencies, Latencies]] = []
        # One connection a request: those that idle would blur the count of open files.
        headers = {"Connection": "close"}
        self._client = httpx.AsyncClient(base_url=base_url, headers=headers, timeout=30)
        self.whole = asyncio.Lock()
        self.crashes = 0

    async def run(self) -> None:
        """Until cancelled; while `whole` is held it serves."""
        async with self._client:
            while True:
                async with self.whole:
                    begun = time.monotonic()
                    struck = self._load.window()
                    await self._crash()
                await asyncio.sleep(begun + CRASH_EVERY_S / 2 - time.monotonic())
                calm = self._load.window()
                await asyncio.sleep(begun + CRASH_EVERY_S - time.monotonic())
                self.pairs.append((struck, calm))

    async def _crash(self) -> None:
        server = f"/api/v1/mcp/servers/{CRASHING}"
        gone = await self._client.post(f"{server}/tools/exit", json={})
        assert gone.status_code == httpx.codes.BAD_GATEWAY, gone.text
        self.crashes += 1
        async with asyncio.timeout(20):
            while True:
                now = (await self._client.post(f"{server}/start")).json()
                if now["state"] == "ready" and now["restarts"] >= self.crashes:
                    return
                await asyncio.sleep(0.2)


class Watch:
    """Looks at the system every second."""

    def __init__(self, load: Load, other: Load, pid: int) -> None:
        self._load = load
        self._other = other
        self.pid = pid
        self.seen: list[Footprint] = []
        self.unanswered = 0

    async def run(self, every_s: float) -> None:
        """Until cancelled; tells every `every_s` seconds how it stands."""
        begun = told_at = time.monotonic()
        while True:
            await asyncio.sleep(1)
            now = time.monotonic()
            for load in (self._load, self._other):
                self.unanswered += load.overdue(DEADLINE_S + LATE_S)
            self.seen.append(footprint(self.pid))
            if now - told_at >= every_s:
                told_at = now
                print(f"{now - begun:6.0f} s {self._load.answered:9} calls  {self.seen[-1]}")
