"""The way to Redis: one pool, every wait bounded, and no waiting at all while it is away."""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import AuthenticationError, NoScriptError, RedisError

from adapters.redis.connections import ANSWER_S, CONNECTIONS, pool_of, reason_of
from domain.errors import Unavailable
from domain.ports.system import Chance

PREFIX = "sutazai:"
# Of every key and channel; systems that share a server are told apart by the database's number.
HEARTBEAT_S = 1.0
# Silence is noticed within this and ANSWER_S, also where nobody asks.
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 1.0
# Between two tries to reach a lost server: it is back in use within a second of its return.
STEADY_S = 5.0
# A server that is lost sooner than this after its return is not tried at once again.

Word = str | bytes | int
logger = logging.getLogger(__name__)


class Away(Exception):
    """Redis does not serve now; the callers within this package go on without it."""


class RedisUnavailable(Unavailable):
    """Redis was not reached in time."""


class Script:
    """A script that the server runs in one step."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha1 = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class RedisLink:
    """Asks Redis, notices its loss at the first failure and its return by trying.

    `reason` says in a few words why it is away.
    """

    def __init__(self, url: str, chance: Chance, prefix: str = PREFIX) -> None:
        """Raises RedisUrlInvalid."""
        self._chance = chance
        self._prefix = prefix
        self._pool = pool_of(url)
        self._client = Redis(connection_pool=self._pool)
        self._places = asyncio.Semaphore(CONNECTIONS)
        self._here = asyncio.Event()
        self._lost = asyncio.Event()
        self._spell = 0
        self._watching: asyncio.Task[None] | None = None
        self.reason = "no answer"

    @property
    def here(self) -> bool:
        """Whether it served at the last look."""
        return self._here.is_set()

    def key(self, name: str) -> str:
        """The full name of a key."""
        return self._prefix + name

    def channel(self, topic: str) -> str:
        """The full name of a channel: one for all databases of the server, so it names ours."""
        return f"{self._prefix}{self._pool.connection_kwargs.get('db', 0)}:{topic}"

    async def start(self, within: timedelta) -> None:
        """Return once it serves; from then on watch it until `aclose`.

        Raises RedisUnavailable: not reached in time, or it refuses the password or a command.
        """
        try:
            async with asyncio.timeout(within.total_seconds()):
                while (error := await self._try()) is not None:
                    if isinstance(error, AuthenticationError):
                        raise RedisUnavailable(f"not usable: {self.reason}.")
                    await asyncio.sleep(FIRST_PAUSE_S)
        except TimeoutError:
            raise RedisUnavailable(
                f"not reached within {within.total_seconds():g} s: {self.reason}."
            ) from None
        try:
            await self.ask_all(self._needed())
        except Away:
            raise RedisUnavailable(f"not usable: {self.reason}.") from None
        self._watching = started(self._watch(), "redis")

    async def aclose(self) -> None:
        """Close every connection; safe to repeat."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})
        self._here.clear()
        self._lost.set()
        await self._pool.aclose()

    async def ask(self, *words: Word) -> Any:
        """The answer to one command. Raises Away."""
        return await self._bounded(lambda: self._client.execute_command(*words))

    async def ask_all(self, commands: Iterable[Sequence[Word]]) -> list[Any]:
        """The answers to several commands that are sent in one go. Raises Away."""
        pipeline = self._client.pipeline(transaction=False)
        for words in commands:
            pipeline.execute_command(*words)
        answers: list[Any] = await self._bounded(pipeline.execute)
        return answers

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Word] = ()) -> Any:
        """What a script answers. Raises Away."""
        rest = (len(keys), *keys, *arguments)
        try:
            return await self.ask("EVALSHA", script.sha1, *rest)
        except NoScriptError:
            return await self.ask("EVAL", script.text, *rest)

    def listening_connection(self) -> AbstractConnection:
        """A connection beside the pool, not open yet; reading from it waits for ever."""
        connection: AbstractConnection = self._pool.make_connection()
        return connection

    def lose(self, error: Exception, spell: int | None = None) -> None:
        """Take it for lost, unless the failure is of an earlier spell than this one."""
        if not self.here or (spell is not None and spell != self._spell):
            return
        self.reason = reason_of(error)
        self._spell += 1
        self._here.clear()
        self._lost.set()
        logger.warning("Redis is away: %s. This process goes on by itself.", self.reason)

    async def until_here(self) -> None:
        """Wait until it serves."""
        await self._here.wait()

    async def until_lost(self) -> None:
        """Wait until it does not."""
        await self._lost.wait()

    async def _bounded(self, act: Callable[[], Awaitable[Any]]) -> Any:
        if not self.here:
            raise Away
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._places.acquire()
        except TimeoutError:
            # Too many ask at once; that says nothing about Redis.
            raise Away from None
        try:
            return await self._answer(act)
        finally:
            self._places.release()

    async def _answer(self, act: Callable[[], Awaitable[Any]]) -> Any:
        spell = self._spell
        if not self.here:
            # It was lost during the wait for a connection.
            raise Away
        try:
            async with asyncio.timeout(ANSWER_S):
                return await act()
        except NoScriptError:
            raise
        except (RedisError, OSError, TimeoutError) as error:
            self.lose(error, spell)
            raise Away from error

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        pause, since = FIRST_PAUSE_S, loop.time()
        while True:
            if await self._stays():
                continue
            lost_at = loop.time()
            if lost_at - since > STEADY_S:
                pause = FIRST_PAUSE_S
            with suppress(RedisError, OSError):
                # What is open may be dead without a sign.
                await self._pool.disconnect(inuse_connections=False)
            await self._pause(pause)
            while await self._try() is not None:
                pause = min(2 * pause, LONGEST_PAUSE_S)
                await self._pause(pause)
            pause, since = min(2 * pause, LONGEST_PAUSE_S), loop.time()
            logger.info("Redis is back after %.1f s.", since - lost_at)

    async def _pause(self, longest_s: float) -> None:
        """Wait for half of that to all of it: many processes do not come back as one."""
        await asyncio.sleep(longest_s * (1 + self._chance.fraction()) / 2)

    async def _stays(self) -> bool:
        """Whether it still serves after a heartbeat's time; at its loss at once no."""
        try:
            async with asyncio.timeout(HEARTBEAT_S):
                await self._lost.wait()
        except TimeoutError:
            with suppress(Away):
                await self._bounded(self._prove)
        return self.here

    async def _try(self) -> Exception | None:
        """What speaks against using it; where nothing does it is used from now on."""
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._prove()
        except (RedisError, OSError, TimeoutError) as error:
            self.reason = reason_of(error)
            return error
        self._lost.clear()
        self._here.set()
        return None

    def _needed(self) -> Iterable[Sequence[Word]]:
        """One harmless command of each sort: who may not do them all is told at the start."""
        key = self.key("alive")
        yield from (("PING",), ("EVAL", "return 1", 0), ("PUBLISH", self.channel(""), ""))
        yield from (("SCAN", 0, "COUNT", 1), ("HGETALL", self.key("cached")), ("UNLINK", key))
        yield ("INFO", "stats")

    async def _prove(self) -> None:
        """Have it write: one that answers but takes nothing does not serve."""
        await self._client.execute_command("SET", self.key("alive"), "1", "EX", 60)


def started(work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
    """A task of this package; should it break, the log says so."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_log_break)
    return task


def _log_break(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.error("%s broke", task.get_name(), exc_info=task.exception())
