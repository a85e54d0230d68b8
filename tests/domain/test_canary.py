"""A server that lives and does not answer: seen, told, and forgotten when it answers again."""

import asyncio
from datetime import timedelta

import pytest

from domain.model.servers import ServerState
from domain.model.tools import CallTimedOut
from tests.domain.toys import Toy, world

pytestmark = pytest.mark.anyio

State = ServerState
BRIEF = timedelta(milliseconds=20)


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_server_that_stops_answering_is_degraded_within_a_second(era: str) -> None:
    toy = Toy("hold", era=era)
    async with world(toy) as here:
        await here.call()
        toy.silent = {"tools/call", "ping", "server/discover"}
        with pytest.raises(CallTimedOut):
            await here.call(timeout=BRIEF)
        async with asyncio.timeout(1):
            record = await here.reaches(State.DEGRADED)
        assert record.reason == "it does not answer"
        assert len(here.children) == 1


async def test_a_degraded_server_still_takes_calls_and_recovers_with_the_first_answer() -> None:
    toy = Toy()
    async with world(toy) as here:
        await here.call()
        toy.silent = {"tools/call", "server/discover"}
        with pytest.raises(CallTimedOut):
            await here.call(timeout=BRIEF)
        await here.reaches(State.DEGRADED)
        toy.silent = set()
        await here.call()
        assert (here.record().state, here.record().reason) == (State.READY, "")


async def test_a_degraded_server_recovers_without_a_call() -> None:
    toy = Toy()
    async with world(toy) as here:
        await here.call()
        toy.silent = {"tools/call", "server/discover"}
        with pytest.raises(CallTimedOut):
            await here.call(timeout=BRIEF)
        await here.reaches(State.DEGRADED)
        toy.silent = set()
        await here.reaches(State.READY)


async def test_a_slow_tool_of_a_server_that_lives_degrades_nothing() -> None:
    toy = Toy("hold", era="legacy")
    async with world(toy) as here:
        await here.call()
        with pytest.raises(CallTimedOut):
            await here.call("hold", timeout=BRIEF)
        await asyncio.sleep(1)
        assert here.record().state is State.READY
        assert len(toy.methods("ping")) == 1


async def test_a_degraded_server_that_ends_is_a_failure_as_any_other() -> None:
    toy = Toy()
    async with world(toy) as here:
        await here.call()
        toy.silent = {"tools/call", "server/discover"}
        with pytest.raises(CallTimedOut):
            await here.call(timeout=BRIEF)
        await here.reaches(State.DEGRADED)
        here.children[-1].kill()
        record = await here.reaches(State.BACKING_OFF)
        assert record.reason == "the process ended by signal 9"
