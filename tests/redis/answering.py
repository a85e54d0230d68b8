"""A process of its own that answers each hint on `ask` with the same on `answer`.

Run as `python -m tests.redis.answering URL PREFIX`; it says `ready` and ends with its input.
"""

import asyncio
import sys

from tests.redis.sides import side

LISTEN_S = 60.0


async def main(url: str, prefix: str) -> None:
    """Answer until the input ends."""
    loop = asyncio.get_running_loop()
    ended = loop.run_in_executor(None, sys.stdin.read)
    async with side(url, prefix) as here, here.signals.subscribe("ask") as asked:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while not ended.done():
            hint = asyncio.ensure_future(asked.next(LISTEN_S))
            await asyncio.wait({hint, ended}, return_when=asyncio.FIRST_COMPLETED)
            if hint.done() and (said := hint.result()) is not None:
                here.signals.publish("answer", said)
            hint.cancel()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
