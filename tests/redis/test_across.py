"""Hints from one process to another."""

import asyncio
import sys
from contextlib import AsyncExitStack, aclosing
from typing import Any

import pytest
from redis.asyncio import Redis as Client

from adapters.inmemory.model import ScriptedLanguageModel
from adapters.inmemory.system import ManualClock, SeededChance
from adapters.inmemory.transactions import MemoryTransactions
from domain.agents import Models
from domain.model.callers import LOCAL
from domain.model.tasks import EventKind, ToolPayload
from domain.ports.signals import Subscription
from domain.tasks import topics
from domain.tasks.service import SubmitTask, TaskService
from domain.tasks.stream import follow
from tests.redis.sides import Side, side

pytestmark = [pytest.mark.services, pytest.mark.anyio]

BOUND_S = 5.0
SILENCE_S = 0.1


async def _all_until(listener: Subscription, last: Any) -> list[Any]:
    """The numbers of all hints up to and with `last`."""
    heard: list[Any] = []
    while not heard or heard[-1] != last:
        hint = await listener.next(BOUND_S)
        assert hint is not None, heard[-3:]
        heard.append(hint["n"])
    return heard


async def _until_left(client: Client, channels: str) -> None:
    """Return once nobody listens there any more."""
    async with asyncio.timeout(BOUND_S):
        while True:
            if not await client.execute_command("PUBSUB", "CHANNELS", channels):
                return
            await asyncio.sleep(0.01)


async def test_a_hint_reaches_listeners_in_every_process(one: Side, other: Side) -> None:
    async with one.signals.subscribe("a") as near, other.signals.subscribe("a") as far:
        one.signals.publish("a", {"n": 1, "text": "größer"})
        assert await near.next(0) == {"n": 1, "text": "größer"}
        assert await far.next(BOUND_S) == {"n": 1, "text": "größer"}


async def test_an_own_hint_is_heard_once(one: Side, other: Side) -> None:
    async with one.signals.subscribe("a") as listener:
        for number in range(20):
            one.signals.publish("a", {"n": number})
        # Redis has them all, and passes on in order: what is to come twice comes before the last.
        await one.signals._emptied.wait()
        other.signals.publish("a", {"n": "last"})
        assert await _all_until(listener, "last") == [*range(20), "last"]


async def test_pieces_of_text_come_in_order_on_each_topic(one: Side, other: Side) -> None:
    topics = [f"task.{number}" for number in range(20)]
    async with AsyncExitStack() as stack:
        listeners = [await stack.enter_async_context(other.signals.subscribe(t)) for t in topics]
        for number in range(200):
            for topic in topics:
                one.signals.publish(topic, {"n": number})
            await asyncio.sleep(0)
        for listener in listeners:
            assert await _all_until(listener, 199) == list(range(200))


async def test_a_tasks_text_is_followed_live_in_another_process(one: Side, other: Side) -> None:
    transactions, chance = MemoryTransactions(ManualClock()), SeededChance(1)
    payload = ToolPayload(server="s", tool="t")
    task = await TaskService(
        transactions, one.signals, chance, Models(ScriptedLanguageModel(()), {})
    ).submit(LOCAL, SubmitTask(payload=payload))
    topic = topics.of_task(task.task_id)
    async with aclosing(follow(transactions, other.signals, task.task_id, 0)) as events:
        following = asyncio.ensure_future(anext(events))
        async with asyncio.timeout(BOUND_S):
            while topic not in other.signals._ear._confirmed:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0.001)
        one.signals.publish(topic, {"attempt": 1, "offset": 0, "text": "Hello"})
        event = await following
        assert (event.kind, event.live, event.data["text"]) == (EventKind.TEXT, True, "Hello")


async def test_a_slow_listener_keeps_nobody_waiting(one: Side, other: Side) -> None:
    async with other.signals.subscribe("slow") as slow, other.signals.subscribe("quick") as quick:
        for number in range(3000):
            one.signals.publish("slow", {"n": number})
        one.signals.publish("quick", {"n": 0})
        assert await quick.next(BOUND_S) == {"n": 0}
        kept = await _all_until(slow, 2999)
        assert kept == list(range(3000 - len(kept), 3000))


async def test_a_topic_is_heard_as_long_as_anybody_listens(one: Side, other: Side) -> None:
    async with other.signals.subscribe("a") as staying:
        async with other.signals.subscribe("a"):
            pass
        one.signals.publish("a", {"n": 1})
        assert await staying.next(BOUND_S) == {"n": 1}
        other.signals._ear.remove("a")
        other.signals._ear.add("a")
        await other.signals._ear.until_heard("a")
        one.signals.publish("a", {"n": 2})
        assert await staying.next(BOUND_S) == {"n": 2}


async def test_ten_thousand_topics_come_and_go_over_one_connection(
    one: Side, other: Side, prefix: str, redis_url: str
) -> None:
    async def visit(number: int) -> None:
        async with other.signals.subscribe(f"task.{number}") as listener:
            one.signals.publish(f"task.{number}", {"n": number})
            assert await listener.next(BOUND_S) == {"n": number}

    async with Client.from_url(redis_url) as client:
        async with one.signals.subscribe("up"), other.signals.subscribe("up"):
            before = len(await client.client_list(_type="pubsub"))
        for first in range(0, 10_000, 500):
            await asyncio.gather(*(visit(number) for number in range(first, first + 500)))
        async with one.signals.subscribe("up"), other.signals.subscribe("up"):
            assert len(await client.client_list(_type="pubsub")) == before
        await _until_left(client, f"{prefix}*")
    ear = other.signals._ear
    kept = (ear._listeners, ear._changed, ear._sent, ear._confirmed, ear._waiting)
    assert [len(each) for each in kept] == [0] * 5
    assert not one.signals._outbox


async def test_another_database_of_the_server_is_another_system(
    one: Side, redis_url: str, prefix: str
) -> None:
    elsewhere = redis_url.removesuffix("/0") + "/1"
    async with side(elsewhere, prefix) as stranger, stranger.signals.subscribe("a") as listener:
        one.signals.publish("a", {"n": 1})
        await one.signals._emptied.wait()
        assert await listener.next(SILENCE_S) is None


async def test_what_no_process_of_ours_said_is_nothing(one: Side, redis_url: str) -> None:
    async with one.signals.subscribe("a") as listener, Client.from_url(redis_url) as client:
        for said in (b"", b"\xff\xfe", b"x {", b"x [1]", b'x "\xff"', b"x " + b"[" * 100_000):
            await client.publish(one.link.channel("a"), said)
        await client.publish(one.link.channel("a"), b'x {"n": 1}')
        assert await listener.next(BOUND_S) == {"n": 1}


async def test_processes_of_their_own_hear_one_another(
    one: Side, redis_url: str, prefix: str
) -> None:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.redis.answering", redis_url, prefix),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert child.stdout is not None
        assert await child.stdout.readline() == b"ready\n"
        async with one.signals.subscribe("answer") as answers:
            for number in range(200):
                one.signals.publish("ask", {"n": number})
            assert await _all_until(answers, 199) == list(range(200))
    finally:
        assert child.stdin is not None
        child.stdin.close()
        assert await child.wait() == 0
