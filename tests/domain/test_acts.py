"""Start, stop, restart and remove: in every state, at the same time, with callers who leave."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from domain.model.callers import LOCAL
from domain.model.servers import (
    Origin,
    ServerDown,
    ServerName,
    ServerNotFound,
    ServerState,
    StartPolicy,
)
from tests.domain.toys import Toy, World, running, spec, until, world

pytestmark = pytest.mark.anyio

State = ServerState
STEADY = (State.IDLE, State.READY, State.BACKING_OFF, State.STOPPED, State.DISABLED)


async def _in(state: ServerState, here: World) -> None:
    """Bring the server there."""
    if state in {State.READY, State.BACKING_OFF, State.STOPPED}:
        await here.call()
    if state is State.BACKING_OFF:
        here.children[-1].kill()
    if state is State.STOPPED:
        await here.mcp.stop_server(LOCAL, "toy")
    await here.reaches(state)


ACTS: dict[str, Callable[[World], Awaitable[object]]] = {
    "start": lambda here: here.mcp.start_server(LOCAL, "toy"),
    "stop": lambda here: here.mcp.stop_server(LOCAL, "toy"),
    "restart": lambda here: here.mcp.restart_server(LOCAL, "toy"),
}


@pytest.mark.parametrize("state", STEADY)
@pytest.mark.parametrize("act", ACTS)
async def test_every_act_is_possible_in_every_state(act: str, state: ServerState) -> None:
    policy = StartPolicy.DISABLED if state is State.DISABLED else StartPolicy.LAZY
    async with world(Toy(), spec(start=policy)) as here:
        await _in(state, here)
        await ACTS[act](here)
        if act == "stop":
            assert here.record().state in {State.STOPPED, State.DISABLED}
            assert running(here) == 0
        else:
            await here.reaches(State.READY)
            assert running(here) == 1


@pytest.mark.parametrize("acts", list(itertools.permutations(ACTS)), ids="-".join)
async def test_acts_at_the_same_time_end_in_the_last_wish(acts: list[str]) -> None:
    toy = Toy()
    async with world(toy) as here:
        await here.call()
        await asyncio.gather(*(ACTS[act](here) for act in (*acts, *acts)))
        if acts[-1] == "stop":
            await here.reaches(State.STOPPED)
            assert running(here) == 0
        else:
            await here.reaches(State.READY)
            await here.call()
            assert running(here) == 1


async def test_a_stop_returns_only_when_the_process_is_gone_whoever_asked_first() -> None:
    toy = Toy()
    toy.deaf = True
    async with world(toy) as here:
        await here.call()

        async def stop() -> int:
            await here.mcp.stop_server(LOCAL, "toy")
            return running(here)

        assert not any(await asyncio.gather(stop(), stop(), stop()))


async def test_a_stop_while_a_failed_life_is_ending_waits_for_its_process() -> None:
    toy = Toy()
    toy.deaf = True
    async with world(toy) as here:
        await here.call()
        here.children[-1].peer.close_output()
        await here.reaches(State.BACKING_OFF)
        assert running(here) == 1
        await here.mcp.stop_server(LOCAL, "toy")
        assert running(here) == 0


@pytest.mark.parametrize("act", ["stop", "restart"])
async def test_a_caller_who_leaves_does_not_leave_a_server_half_ended(act: str) -> None:
    toy = Toy()
    toy.deaf = True
    async with world(toy) as here:
        await here.call()
        asking = asyncio.ensure_future(ACTS[act](here))
        await here.reaches(State.STOPPING)
        asking.cancel()
        await asyncio.wait({asking})
        assert asking.cancelled()
        toy.deaf = False
        if act == "stop":
            await here.reaches(State.STOPPED)
            await here.mcp.start_server(LOCAL, "toy")
        await here.reaches(State.READY)
        assert running(here) == 1


async def test_a_start_during_a_stop_begins_after_it() -> None:
    toy = Toy()
    toy.deaf = True
    async with world(toy) as here:
        await here.call()
        stopping = asyncio.ensure_future(ACTS["stop"](here))
        await here.reaches(State.STOPPING)
        await here.mcp.start_server(LOCAL, "toy")
        assert len(here.children) == 1
        await stopping
        toy.deaf = False
        await here.reaches(State.READY)
        assert running(here) == 1


async def test_a_start_while_a_server_goes_to_rest_begins_after_it() -> None:
    toy = Toy()
    toy.deaf = True
    async with world(toy, spec(idle_stop=timedelta(milliseconds=50))) as here:
        await here.call()
        await here.mcp.start_server(LOCAL, "toy")
        await here.reaches(State.STOPPING)
        await here.mcp.start_server(LOCAL, "toy")
        toy.deaf = False
        await until(lambda: here.record().starts == 2)
        await here.reaches(State.IDLE)
        assert running(here) == 0
        assert len(here.children) == 2


async def test_a_removed_server_is_gone_for_good_whatever_is_asked_meanwhile() -> None:
    toy = Toy()
    toy.deaf = True
    async with world(toy, spec("other"), other=Toy()) as here:
        await here.mcp.add(LOCAL, spec(origin=Origin.API))
        await here.call()
        removing = asyncio.ensure_future(here.mcp.remove(LOCAL, ServerName("toy")))
        await here.reaches(State.STOPPING)
        with pytest.raises(ServerDown):
            await here.mcp.start_server(LOCAL, "toy")
        with pytest.raises(ServerDown):
            await here.mcp.restart_server(LOCAL, "toy")
        with pytest.raises(ServerDown):
            await here.call()
        await removing
        assert running(here) == 0
        with pytest.raises(ServerNotFound):
            here.record()
        assert here.mcp.known_tools("toy") == ()
        await here.mcp.add(LOCAL, spec(origin=Origin.API))
        toy.deaf = False
        await here.call()


async def test_a_removal_is_carried_out_when_its_caller_leaves() -> None:
    toy = Toy()
    toy.deaf = True
    async with world(toy, spec("other"), other=Toy()) as here:
        await here.mcp.add(LOCAL, spec(origin=Origin.API))
        await here.call()
        removing = asyncio.ensure_future(here.mcp.remove(LOCAL, ServerName("toy")))
        await here.reaches(State.STOPPING)
        removing.cancel()
        await until(lambda: [r.spec.name for r in here.mcp.records()] == ["other"])
        assert running(here) == 0
