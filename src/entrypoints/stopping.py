"""How a process is told to end: by SIGTERM or SIGINT, at any moment of its life."""

import asyncio
import signal
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Self, TypeVar

T = TypeVar("T")
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopping:
    """Listens within its block: the first signal asks for the end, another one for haste.

    After the block a signal changes nothing: it would kill the process in its last moments, and
    whoever waits for its end would take that for a failure.
    """

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hasty = asyncio.Event()

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)

    def _heard(self) -> None:
        (self.hasty if self.asked.is_set() else self.asked).set()

    async def entered(
        self, stack: AsyncExitStack, manager: AbstractAsyncContextManager[T]
    ) -> T | None:
        """What the manager gives on entry; None where the end is asked for before it is entered."""
        opening = asyncio.ensure_future(stack.enter_async_context(manager))
        stopped = asyncio.ensure_future(self.asked.wait())
        await asyncio.wait({opening, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if opening.done():
            return opening.result()
        opening.cancel()
        await asyncio.wait({opening})
        return None
