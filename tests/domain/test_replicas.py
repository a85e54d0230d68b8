"""Replicas: calls are spread as the spec says, and go to none that is down while another serves."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from adapters.inmemory.launcher import Peer
from domain.model.callers import LOCAL, Caller, CallerId, Scope
from domain.model.servers import Balance, ServerDown, ServerName, ServerState, StartPolicy
from domain.model.tools import CallInterrupted
from domain.orchestration.shared import affinity
from tests.domain.toys import HASTY, Diary, Toy, World, running, spec, until, words, world

pytestmark = pytest.mark.anyio

State = ServerState


def three(balance: Balance = Balance.LEAST_IN_FLIGHT, **changes: Any) -> Any:
    return spec(replicas=3, balance=balance, start=StartPolicy.EAGER, **changes)


def caller(name: str) -> Caller:
    return Caller(id=CallerId(name), scopes=frozenset(Scope))


async def all_ready(here: World) -> None:
    await until(lambda: [each.record.state for each in members(here)] == [State.READY] * 3)


def members(here: World) -> Any:
    return here.mcp.members()[ServerName("toy")]


def calls(diary: Diary) -> list[int]:
    """How many calls each process was given."""
    return sorted(map(len, diary.kept.values()))


async def test_calls_take_turns() -> None:
    diary = Diary()
    async with world(diary, three(Balance.ROUND_ROBIN)) as here:
        await all_ready(here)
        for _ in range(9):
            await here.call()
        assert calls(diary) == [3, 3, 3]


async def test_a_call_goes_where_the_fewest_are_under_way() -> None:
    diary = Diary("hold")
    async with world(diary, three()) as here:
        await all_ready(here)
        held = [asyncio.create_task(here.call("hold")) for _ in range(2)]
        await until(lambda: len(diary.methods("tools/call")) == 2)
        for _ in range(5):
            await here.call()
        assert calls(diary) == [5]
        in_flight = Counter(each.traffic.in_flight for each in members(here))
        assert in_flight == {0: 1, 1: 2}
        for call in held:
            call.cancel()
        await asyncio.wait(held)
        for _ in range(6):
            await here.call()
        assert calls(diary) == [2, 2, 7]


async def test_a_caller_stays_with_its_replica_while_that_serves() -> None:
    diary = Diary()
    async with world(diary, three(Balance.STICKY)) as here:
        await all_ready(here)
        for name in "abcdefpqrstuvwxyz":
            for _ in range(3):
                last = words(await here.call(caller=caller(name), word=name))
            assert last[-3:] == [name] * 3
        assert len(diary.kept) == 3
        mine = words(await here.call(caller=caller("a"), word="a"))
        with pytest.raises(CallInterrupted):
            await here.call("die", caller=caller("a"))
        elsewhere = words(await here.call(caller=caller("a"), word="a"))
        assert elsewhere != [*mine, "a"]


def test_a_callers_replica_is_the_same_in_every_process() -> None:
    of_three = {
        name: max(range(3), key=lambda number: affinity(CallerId(name), number))
        for name in ("alice", "bob", "erin")
    }
    assert of_three == {"alice": 1, "bob": 0, "erin": 2}


@pytest.mark.parametrize("balance", Balance)
async def test_a_replica_that_is_down_is_given_nothing(balance: Balance) -> None:
    diary = Diary()
    async with world(diary, three(balance)) as here:
        await all_ready(here)
        here.children[1].kill()
        for name in map(str, range(12)):
            await here.call(caller=caller(name))
        assert sum(calls(diary)) == 12
        record = await here.reaches(State.DEGRADED)
        assert record.reason == "1 of 3 instances: backing off: the process ended by signal 9"
        assert running(here) == 2
        await here.mcp.start_server(LOCAL, "toy")
        await all_ready(here)
        assert here.record().state is State.READY


@pytest.mark.parametrize("balance", Balance)
async def test_a_replica_that_starts_is_not_waited_for(balance: Balance) -> None:
    diary = Diary()
    async with world(diary, three(balance), policy=HASTY) as here:
        await all_ready(here)
        diary.gate.clear()
        here.children[1].kill()
        await until(lambda: State.STARTING in [each.record.state for each in members(here)])
        async with asyncio.timeout(2):
            for name in map(str, range(12)):
                await here.call(caller=caller(name))
        assert here.record().state is State.READY
        diary.gate.set()


async def test_a_call_that_may_have_been_sent_is_not_repeated() -> None:
    diary = Diary()
    async with world(diary, three()) as here:
        await all_ready(here)
        with pytest.raises(CallInterrupted):
            await here.call("die")
        assert len([m for m in diary.methods("tools/call") if m["params"]["name"] == "die"]) == 1


async def test_calls_that_waited_at_a_replica_that_died_go_to_the_others() -> None:
    class Dying(Diary):
        async def _take(self, peer: Peer, message: dict[str, Any]) -> int | None:
            if message.get("method") == "tools/call" and peer not in self.kept:
                self.kept[peer] = []
            return await super()._take(peer, message)

    diary = Dying("hold")
    async with world(diary, three(Balance.STICKY, limits=spec().limits)) as here:
        await all_ready(here)
        group = here.fleet.group("toy")
        gates = [runner.gate for runner in group._runners()]
        for gate in gates:
            gate._most = 1
        held = asyncio.create_task(here.call("hold", caller=caller("a")))
        await until(lambda: diary.kept)
        waiting = [asyncio.create_task(here.call(caller=caller("a"))) for _ in range(5)]
        await until(lambda: here.mcp.waiting == 5)
        (peer,) = diary.kept
        next(child for child in here.children if child.peer is peer).kill()
        with pytest.raises(CallInterrupted):
            await held
        assert len(await asyncio.gather(*waiting)) == 5


async def test_without_any_that_serves_the_reason_is_told_at_once() -> None:
    async with world(Toy(), three()) as here:
        await all_ready(here)
        for child in here.children:
            child.kill()
        record = await here.reaches(State.BACKING_OFF)
        assert record.retry_at is not None
        with pytest.raises(ServerDown, match="backing off: the process ended by signal 9"):
            await asyncio.wait_for(here.call(), 0.5)


async def test_the_first_call_wakes_all_that_rest() -> None:
    async with world(Toy(), spec(replicas=3)) as here:
        assert here.record().state is State.IDLE
        await here.call()
        await all_ready(here)
        assert (here.record().starts, here.record().restarts) == (3, 0)


async def test_acts_are_on_all() -> None:
    async with world(Toy(), three(), policy=HASTY) as here:
        await all_ready(here)
        await here.mcp.stop_server(LOCAL, "toy")
        assert (running(here), here.record().state) == (0, State.STOPPED)
        await asyncio.gather(
            here.mcp.stop_server(LOCAL, "toy"), here.mcp.restart_server(LOCAL, "toy")
        )
        await all_ready(here)
        assert here.record().restarts == 3
        assert [each.label for each in members(here)] == ["1", "2", "3"]
