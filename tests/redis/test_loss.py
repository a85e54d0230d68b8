"""Redis killed, frozen, full or strange: nothing waits long, nothing fails, all comes back."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from redis.asyncio import Redis as Client

from adapters.redis.connections import ANSWER_S, CONNECTIONS, RedisUrlInvalid
from adapters.redis.link import HEARTBEAT_S, LONGEST_PAUSE_S, RedisLink, RedisUnavailable
from adapters.system import SystemChance
from domain.model.health import Finding, HealthState
from domain.ports.limits import Rate
from tests.real.kept import free_port
from tests.real.redis import Redis
from tests.redis.sides import Side, side

pytestmark = [pytest.mark.services, pytest.mark.anyio]

BUSY_S = 3.0
# What a busy machine may add to a bound.
BACK_S = LONGEST_PAUSE_S + ANSWER_S + BUSY_S
AT_ONCE_S = 0.5
RATE = Rate(burst=2, refill=timedelta(hours=1))
MINUTE = timedelta(minutes=1)


@pytest.fixture
async def lone(server: Redis, prefix: str) -> AsyncIterator[Side]:
    """A process on the server of its own."""
    async with side(server.url, prefix) as opened:
        yield opened


async def _until(state: HealthState, process: Side, within: float) -> Finding:
    async with asyncio.timeout(within):
        while True:
            found = await process.probe.look()
            if found.state is state:
                return found
            await asyncio.sleep(0.01)


async def _works_alone(process: Side) -> None:
    """All ports do what one process alone can do, and none waits."""
    begun = time.monotonic()
    async with process.signals.subscribe("a") as listener:
        process.signals.publish("a", {"n": 1})
        assert await listener.next(0) == {"n": 1}
    await process.cache.put("alone", b"1", MINUTE)
    assert await process.cache.get("alone") == b"1"
    taken = [await process.limits.take("alone", RATE) for _ in range(3)]
    assert [each.allowed for each in taken] == [True, True, False]
    assert (await process.cache.stats()).entries == 1
    assert time.monotonic() - begun < AT_ONCE_S


async def test_a_killed_server_is_noticed_at_once_and_is_back_soon_after_its_return(
    server: Redis, lone: Side, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with side(server.url, prefix) as other, other.signals.subscribe("a") as listener:
        server.kill()
        lost = await _until(HealthState.DEGRADED, lone, AT_ONCE_S)
        assert "Redis is away: it cannot be reached" in lost.reason
        assert lost.backend == "redis"
        await _works_alone(lone)
        server.start()
        await _until(HealthState.HEALTHY, lone, BACK_S)
        await _until(HealthState.HEALTHY, other, BACK_S)
        async with asyncio.timeout(BACK_S):
            await other.signals._ear.until_heard("a")
        lone.signals.publish("a", {"n": 2})
        assert await listener.next(BACK_S) == {"n": 2}
    said = [
        record.getMessage() for record in caplog.records if record.name == "adapters.redis.link"
    ]
    assert any(text.startswith("Redis is back after") for text in said)
    assert server.password not in caplog.text


async def test_a_frozen_server_costs_one_bounded_wait(server: Redis, lone: Side) -> None:
    await lone.limits.take("before", RATE)
    server.freeze()
    begun = time.monotonic()
    taken = await asyncio.gather(*(lone.limits.take("a", RATE) for _ in range(100)))
    assert time.monotonic() - begun < ANSWER_S + BUSY_S
    assert sum(each.allowed for each in taken) == 2
    await _works_alone(lone)
    lost = await lone.probe.look()
    assert lost.state is HealthState.DEGRADED
    assert f"no answer within {ANSWER_S:g} s" in lost.reason
    server.thaw()
    await _until(HealthState.HEALTHY, lone, BACK_S)
    assert (await lone.limits.take("before", RATE)).remaining == 0


async def test_a_frozen_server_is_noticed_where_nobody_asks(server: Redis, lone: Side) -> None:
    async with lone.signals.subscribe("a"):
        server.freeze()
        async with asyncio.timeout(HEARTBEAT_S + ANSWER_S + BUSY_S):
            await lone.link.until_lost()
    server.thaw()


async def test_a_subscription_waits_for_a_frozen_server_within_bounds(
    server: Redis, lone: Side
) -> None:
    server.freeze()
    begun = time.monotonic()
    async with lone.signals.subscribe("a") as listener:
        assert time.monotonic() - begun < ANSWER_S + BUSY_S
        lone.signals.publish("a", {"n": 1})
        assert await listener.next(0) == {"n": 1}
    server.thaw()


async def test_what_was_replaced_while_it_was_away_does_not_return(
    server: Redis, lone: Side
) -> None:
    await lone.cache.put("kept", b"1", MINUTE)
    await lone.cache.put("replaced", b"old", MINUTE)
    server.stop()
    await _until(HealthState.DEGRADED, lone, AT_ONCE_S)
    assert await lone.cache.get("kept") is None
    await lone.cache.put("replaced", b"new", MINUTE)
    assert await lone.cache.get("replaced") == b"new"
    server.start()
    await _until(HealthState.HEALTHY, lone, BACK_S)
    assert await lone.cache.get("replaced") != b"old"
    assert await lone.cache.get("kept") == b"1"
    assert (await lone.cache.stats()).entries == 1


async def test_what_was_cleared_while_it_was_away_does_not_return(
    server: Redis, lone: Side
) -> None:
    await lone.cache.put("a", b"1", MINUTE)
    server.stop()
    await _until(HealthState.DEGRADED, lone, AT_ONCE_S)
    assert await lone.cache.clear() == 0
    server.start()
    await _until(HealthState.HEALTHY, lone, BACK_S)
    assert await lone.cache.get("a") is None


async def test_a_server_that_takes_no_writes_does_not_serve(server: Redis, lone: Side) -> None:
    async with Client.from_url(server.url) as client:
        await client.config_set("maxmemory", 1)
        await lone.cache.put("a", b"1", MINUTE)
        lost = await _until(HealthState.DEGRADED, lone, AT_ONCE_S)
        assert "its memory is full" in lost.reason
        assert await lone.cache.get("a") == b"1"
        await client.config_set("maxmemory", 0)
        await _until(HealthState.HEALTHY, lone, BACK_S)


async def test_a_script_that_the_server_forgot_is_sent_again(server: Redis, lone: Side) -> None:
    assert (await lone.limits.take("a", RATE)).allowed
    await lone.link.ask("SCRIPT", "FLUSH")
    assert (await lone.limits.take("a", RATE)).allowed
    assert not (await lone.limits.take("a", RATE)).allowed
    assert (await lone.probe.look()).state is HealthState.HEALTHY


async def test_operations_that_are_given_up_take_no_connection_along(lone: Side) -> None:
    for _ in range(20):
        asked = [asyncio.create_task(lone.cache.get("a")) for _ in range(30)]
        await asyncio.sleep(0.001)
        for task in asked:
            task.cancel()
        await asyncio.wait(asked)
    pool = lone.link._pool
    assert not pool._in_use_connections
    assert await lone.cache.get("a") is None
    assert lone.link.here


async def test_too_many_at_once_are_served_without_redis_and_do_not_make_it_lost(
    lone: Side,
) -> None:
    for _ in range(CONNECTIONS):
        await lone.link._places.acquire()
    begun = time.monotonic()
    taken = await asyncio.gather(*(lone.limits.take("a", RATE) for _ in range(100)))
    assert time.monotonic() - begun < ANSWER_S + BUSY_S
    assert sum(each.allowed for each in taken) == 2
    assert lone.link.here


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis://:hush-hush@127.0.0.1:{port}/0", "it refuses the user or the password"),
        ("redis://nobody:hush-hush@127.0.0.1:{port}/0", "it refuses the user or the password"),
        ("redis://127.0.0.1:{port}/0", "it refuses the user or the password"),
    ],
)
async def test_a_wrong_password_is_said_at_once(server: Redis, url: str, reason: str) -> None:
    link = RedisLink(url.format(port=server.port), SystemChance())
    begun = time.monotonic()
    with pytest.raises(RedisUnavailable) as refused:
        await link.start(timedelta(seconds=30))
    await link.aclose()
    assert reason in refused.value.message
    assert "hush" not in refused.value.message
    assert time.monotonic() - begun < ANSWER_S + BUSY_S


async def test_rights_that_do_not_suffice_are_said_at_the_start(server: Redis) -> None:
    url = f"redis://worker:w@127.0.0.1:{server.port}/0"
    async with Client.from_url(server.url) as client:
        rights = ("on", ">w", "+@all", "~sutazai:*", "resetchannels")
        await client.execute_command("ACL", "SETUSER", "worker", *rights)
        link = RedisLink(url, SystemChance())
        with pytest.raises(RedisUnavailable, match="does not let this user"):
            await link.start(timedelta(seconds=30))
        await link.aclose()
        await client.execute_command("ACL", "SETUSER", "worker", "&sutazai:*")
        link = RedisLink(url, SystemChance())
        await link.start(timedelta(seconds=30))
        await link.aclose()


async def test_a_server_that_is_not_there_is_waited_for() -> None:
    link = RedisLink(f"redis://:hush@127.0.0.1:{free_port()}/0", SystemChance())
    with pytest.raises(RedisUnavailable) as refused:
        await link.start(timedelta(seconds=0.3))
    await link.aclose()
    assert refused.value.message == "not reached within 0.3 s: it cannot be reached."


async def test_a_server_that_comes_in_time_is_reached(server: Redis) -> None:
    server.stop()
    link = RedisLink(server.url, SystemChance())
    starting = asyncio.create_task(link.start(timedelta(seconds=30)))
    await asyncio.sleep(0.2)
    await asyncio.to_thread(server.start)
    await starting
    assert link.here
    await link.aclose()


@pytest.mark.parametrize(
    "url", ["redis://:hush@127.0.0.1:port/0", "redis://:hush@h/0?colour=red", "redis://h?db=x"]
)
def test_a_url_that_no_connection_takes_is_refused_without_its_text(url: str) -> None:
    with pytest.raises(RedisUrlInvalid) as refused:
        RedisLink(url, SystemChance())
    assert "hush" not in refused.value.message
