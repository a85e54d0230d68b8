"""How a process is told to end: by SIGTERM or SIGINT, at any moment of its life."""

import asyncio
import signal
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TypeVar

T = TypeVar("T")


class Stopping:
    """Listens from its making on: the first signal asks for the end, another one for haste."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hasty = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._heard)

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
