"""Signs of life, rest and age: who is ill, who is ended, who is only busy."""

import asyncio
from datetime import timedelta

import pytest

from domain.model.servers import Era, Limits, ServerState
from domain.model.tools import CallTimedOut
from domain.orchestration.gate import Busy, WaitedTooLong
from tests.domain.toys import HASTY, TICK, Toy, spec, until, world

pytestmark = pytest.mark.anyio

State = ServerState
CANARY = timedelta(milliseconds=100)
BRIEF = timedelta(milliseconds=50)


async def test_a_frozen_server_shows_within_one_canary_interval_and_is_started_again() -> None:
    toy = Toy()
    async with world(toy, spec(canary=CANARY), policy=HASTY) as here:
        await here.call()
        toy.silent.add("server/discover")
        ill = await here.reaches(State.DEGRADED)
        assert ill.reason == "it does not answer"
        assert ill.last_ok is not None
        assert ill.since - ill.last_ok < CANARY * 1.5
        await here.reaches(State.BACKING_OFF)
        toy.silent.clear()
        well = await here.reaches(State.READY)
        assert well.last_failure is not None
        assert "it did not answer for" in well.last_failure.message
        assert (well.starts, len(here.children)) == (2, 2)


async def test_a_server_that_gives_a_sign_again_is_ready_again() -> None:
    toy = Toy()
    async with world(toy, spec(canary=CANARY)) as here:
        await here.call()
        toy.silent.add("server/discover")
        await here.reaches(State.DEGRADED)
        toy.silent.clear()
        assert (await here.reaches(State.READY)).starts == 1


async def test_a_busy_server_is_not_ended_before_a_call_ran_into_its_deadline() -> None:
    toy = Toy("hold")
    async with world(toy, spec(canary=CANARY), policy=HASTY) as here:
        await here.call()
        toy.silent.add("server/discover")
        holding = asyncio.create_task(here.call("hold", timeout=timedelta(seconds=1)))
        await asyncio.sleep(0.6)
        assert (here.record().state, here.record().starts) == (State.DEGRADED, 1)
        with pytest.raises(CallTimedOut):
            await holding
        await until(lambda: here.record().starts == 2)


async def test_whatever_a_server_says_to_a_ping_is_a_sign() -> None:
    async with world(Toy(era="legacy"), spec(canary=BRIEF)) as here:
        await here.call()
        await asyncio.sleep(0.3)
        record = here.record()
        assert (record.era, record.state, record.starts) == (Era.LEGACY, State.READY, 1)


async def test_a_server_that_is_not_used_rests_until_it_is() -> None:
    async with world(Toy(), spec(idle_stop=BRIEF)) as here:
        await here.call()
        resting = await here.reaches(State.IDLE)
        assert (resting.reason, resting.pid) == ("it was not used", None)
        assert {tool.name for tool in here.mcp.tools()} == {"echo"}
        await here.call()
        assert len(here.children) == 2
        assert here.record().failures == 0


async def test_no_call_is_refused_because_it_came_when_the_server_went_to_rest() -> None:
    async with world(Toy(), spec(idle_stop=TICK)) as here:
        for number in range(60):
            await here.call(n=number)
            await asyncio.sleep(0.009 + number % 5 / 1000)
        assert len(here.children) > 1


async def test_an_old_server_begins_anew_between_two_calls() -> None:
    toy = Toy("hold")
    async with world(toy, spec(max_life=BRIEF, canary=timedelta(minutes=1))) as here:
        holding = asyncio.create_task(here.call("hold", timeout=timedelta(seconds=0.3)))
        with pytest.raises(CallTimedOut):
            await holding
        assert len(here.children) == 1
        await until(lambda: len(here.children) > 1)
        await here.call()


async def test_more_calls_than_may_wait_are_turned_away_and_others_do_not_notice() -> None:
    one = spec("busy", limits=Limits(calls=1, queue=1))
    async with world(Toy(), one, spec("free"), busy=Toy("hold"), free=Toy()) as here:
        await here.call(server="busy")
        holding = asyncio.create_task(
            here.call("hold", server="busy", timeout=timedelta(seconds=0.4))
        )
        await asyncio.sleep(0.02)
        waiting = asyncio.create_task(here.call(server="busy", timeout=timedelta(seconds=0.1)))
        await asyncio.sleep(0.02)
        with pytest.raises(Busy):
            await here.call(server="busy")
        await here.call(server="free")
        with pytest.raises(WaitedTooLong):
            await waiting
        with pytest.raises(CallTimedOut):
            await holding
        await here.call(server="busy")


async def test_going_over_a_limit_is_the_reason() -> None:
    async with world(Toy()) as here:
        await here.call()
        here.children[-1].go_over("it used 3000 MB of memory, over its limit of 2048 MB")
        record = await here.reaches(State.BACKING_OFF)
        assert record.reason == (
            "the process was ended: it used 3000 MB of memory, over its limit of 2048 MB"
        )
