"""Instances that belong to a session, a caller or a call: theirs alone, never too many."""

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from adapters.inmemory.launcher import Peer
from domain.model.callers import LOCAL, Caller, CallerId, Scope
from domain.model.servers import (
    Limits,
    Origin,
    ServerDown,
    ServerName,
    ServerSpec,
    ServerState,
    Sessions,
    StartPolicy,
)
from domain.model.tools import CallInterrupted, ToolNotFound
from domain.orchestration.gate import Busy, WaitedTooLong
from domain.orchestration.runner import Runner
from tests.domain.toys import HASTY, SOON, Diary, Toy, World, running, spec, until, words, world

pytestmark = pytest.mark.anyio

State = ServerState
BRIEF = timedelta(milliseconds=50)


def kept(sessions: Sessions = Sessions.PER_SESSION, **changes: Any) -> ServerSpec:
    return spec(sessions=sessions, **changes)


def session(name: str, caller: str = "local") -> Caller:
    return Caller(id=CallerId(caller), scopes=frozenset(Scope), session=name)


async def told(here: World, word: str, caller: Caller = LOCAL) -> list[str]:
    """What the caller's instance has been told so far, this word last."""
    return words(await here.call(caller=caller, word=word))


async def crash(_peer: Peer) -> int:
    return 7


def states(here: World) -> list[str]:
    return [member.record.state.value for member in here.mcp.members()[ServerName("toy")]]


async def alone(here: World, *callers: Caller) -> None:
    """No instance is another's."""
    for number in "12":
        for caller in callers:
            await told(here, f"{caller.id}/{caller.session}/{number}", caller)
    for caller in callers:
        mine = f"{caller.id}/{caller.session}"
        assert await told(here, "end", caller) == [f"{mine}/1", f"{mine}/2", "end"]


async def test_what_one_session_leaves_behind_no_other_meets() -> None:
    async with world(Diary(), kept()) as here:
        await alone(here, session("a"), session("b"), session(""), session("a", "eve"))
        assert running(here) == 4


async def test_a_callers_instance_is_shared_by_its_sessions() -> None:
    async with world(Diary(), kept(Sessions.PER_CALLER)) as here:
        await told(here, "1", session("a"))
        assert await told(here, "2", session("b")) == ["1", "2"]
        assert await told(here, "3", session("a", "eve")) == ["3"]
        assert running(here) == 2


async def test_each_call_has_an_instance_of_its_own_that_ends_with_it() -> None:
    async with world(Diary(), kept(Sessions.PER_CALL)) as here:
        assert [await told(here, word) for word in "abc"] == [["a"], ["b"], ["c"]]
        await until(lambda: running(here) == 0)
        assert (here.record().state, here.record().starts, here.record().restarts) == (
            State.IDLE,
            3,
            0,
        )


async def test_a_call_that_is_left_ends_its_instance() -> None:
    diary = Diary("hold")
    async with world(diary, kept(Sessions.PER_CALL)) as here:
        left = asyncio.create_task(here.call("hold"))
        await until(lambda: diary.methods("tools/call"))
        left.cancel()
        await asyncio.wait({left})
        await until(lambda: running(here) == 0)


async def test_so_many_calls_at_once_as_there_may_be_instances() -> None:
    diary = Diary()
    async with world(diary, kept(Sessions.PER_CALL, max_instances=2)) as here:
        calls = [asyncio.create_task(here.call("wait", word=str(n))) for n in range(5)]
        await until(lambda: diary.waiting == 2)
        assert here.mcp.waiting == 3
        diary.go.set()
        assert sorted([words(result) for result in await asyncio.gather(*calls)]) == [
            [str(n)] for n in range(5)
        ]
        assert len(diary.kept) == 5


async def test_at_the_cap_the_session_that_was_used_least_recently_makes_room() -> None:
    a, b, c = map(session, "abc")
    async with world(Diary(), kept(max_instances=2)) as here:
        await told(here, "1", a)
        await told(here, "1", b)
        await told(here, "2", a)
        assert await told(here, "1", c) == ["1"]
        assert running(here) == 2
        assert await told(here, "3", a) == ["1", "2", "3"]
        assert await told(here, "2", b) == ["2"]
        assert running(here) == 2


async def test_an_instance_with_a_call_makes_room_for_nobody() -> None:
    diary = Diary()
    a, b = map(session, "ab")
    async with world(diary, kept(max_instances=1, limits=Limits(queue=2))) as here:
        busy = asyncio.create_task(here.call("wait", caller=a, word="1"))
        await until(lambda: diary.waiting)
        with pytest.raises(WaitedTooLong, match="no free instance until the deadline"):
            await here.call(caller=b, timeout=BRIEF)
        queued = [asyncio.create_task(here.call(caller=b, word=word)) for word in "12"]
        await until(lambda: here.mcp.waiting == 2)
        with pytest.raises(Busy, match="all of its 1 instances are in use and 2 calls wait"):
            await told(here, "1", session("c"))
        same = asyncio.create_task(told(here, "2", a))
        diary.go.set()
        assert words(await busy) == ["1"]
        assert [words(result) for result in await asyncio.gather(*queued)] in (
            [["1"], ["1", "2"]],
            [["2", "1"], ["2"]],
        )
        assert await same == ["1", "2"]
        assert len(diary.kept) == 2


async def test_whoever_leaves_the_queue_leaves_its_place_to_others() -> None:
    diary = Diary()
    async with world(diary, kept(max_instances=1)) as here:
        busy = asyncio.create_task(here.call("wait", caller=session("a")))
        await until(lambda: diary.waiting)
        leaving, staying = (asyncio.create_task(told(here, "1", session(name))) for name in "bc")
        await until(lambda: here.mcp.waiting == 2)
        diary.go.set()
        leaving.cancel()
        await asyncio.wait({leaving})
        assert await staying == ["1"]
        await busy
        assert here.mcp.waiting == 0


async def test_a_seat_that_comes_with_the_cancellation_is_passed_on() -> None:
    async with world(Diary(), kept(max_instances=1)) as here:
        group, free = here.fleet.group("toy"), asyncio.Event()
        deadline = asyncio.get_running_loop().time() + 5

        async def busy(_runner: Runner) -> bool:
            return await free.wait()

        first, second, third = (
            asyncio.create_task(group.carry_out(session(name), deadline, busy)) for name in "abc"
        )
        await until(lambda: group.waiting == 2)
        free.set()
        while group.waiting == 2:  # noqa: ASYNC110 - every turn of the loop counts here
            await asyncio.sleep(0)
        second.cancel()
        assert await first
        assert await third
        assert second.cancelled()


async def test_many_first_calls_of_a_session_are_one_launch() -> None:
    async with world(Diary(), kept()) as here:
        calls = (told(here, "x", session(name)) for name in "ab" for _ in range(20))
        await asyncio.gather(*calls)
        assert len(here.children) == 2


async def test_a_session_that_rests_disappears_and_begins_anew() -> None:
    async with world(Diary(), kept(idle_stop=timedelta(milliseconds=30))) as here:
        await told(here, "1", session("a"))
        await until(lambda: running(here) == 0)
        assert (states(here), here.record().state) == (["idle"], State.IDLE)
        assert here.record().last_ok is not None
        assert await told(here, "2", session("a")) == ["2"]


async def test_an_eager_server_has_a_spare_that_the_first_session_takes() -> None:
    async with world(Diary(), kept(start=StartPolicy.EAGER)) as here:
        await here.reaches(State.READY)
        assert len(here.mcp.tools()) == 3
        await told(here, "1", session("a"))
        assert len(here.children) == 1
        assert await told(here, "1", session("b")) == ["1"]
        assert len(here.children) == 2


async def test_a_crash_is_its_own_sessions_alone() -> None:
    a, b = session("a"), session("b")
    async with world(Diary(), kept()) as here:
        await told(here, "1", a)
        await told(here, "1", b)
        with pytest.raises(CallInterrupted, match="exited with code 3"):
            await here.call("die", caller=a)
        with pytest.raises(ServerDown, match="backing off"):
            await here.call(caller=a)
        assert await told(here, "2", b) == ["1", "2"]
        assert await told(here, "1", session("c")) == ["1"]
        record = here.record()
        assert record.state is State.DEGRADED
        assert record.reason == "1 of 3 instances: backing off: the process exited with code 3"
        assert record.last_failure is not None
        assert running(here) == 2


async def test_a_crashed_session_is_started_again_by_itself() -> None:
    a = session("a")
    async with world(Diary(), kept(), policy=HASTY) as here:
        await told(here, "1", a)
        with pytest.raises(CallInterrupted):
            await here.call("die", caller=a)
        await here.reaches(State.READY)
        assert await told(here, "2", a) == ["2"]
        assert (here.record().starts, here.record().restarts) == (2, 1)


@pytest.mark.parametrize("sessions", [each for each in Sessions if each is not Sessions.SHARED])
async def test_a_server_that_cannot_start_backs_off_for_all(sessions: Sessions) -> None:
    async with world(crash, kept(sessions)) as here:
        for number in range(20):
            with pytest.raises(ServerDown, match="backing off: the process exited with code 7"):
                await here.call(caller=session(str(number), str(number)))
        assert (here.record().starts, here.record().state) == (1, State.BACKING_OFF)
        assert here.record().retry_at is not None


async def test_what_could_not_start_serves_the_next_session_once_it_could() -> None:
    toy, broken = Diary(), True

    async def program(peer: Peer) -> int:
        return 7 if broken else await toy(peer)

    async with world(program, kept(), policy=HASTY) as here:
        with pytest.raises(ServerDown):
            await here.call(caller=session("a"))
        broken = False
        await here.reaches(State.READY)
        assert await told(here, "1", session("b")) == ["1"]
        assert await told(here, "1", session("a")) == ["1"]


async def test_starts_that_fail_side_by_side_leave_one_that_tries_again() -> None:
    async with world(crash, kept()) as here:
        calls = (here.call(caller=session(str(number))) for number in range(5))
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(outcome, ServerDown) for outcome in outcomes)
        await until(lambda: states(here) == ["backing_off"])


async def test_a_stop_ends_all_instances_until_a_start() -> None:
    diary = Diary("hold")
    async with world(diary, kept(max_instances=2)) as here:
        busy = asyncio.create_task(here.call("hold", caller=session("a")))
        await told(here, "1", session("b"))
        await until(lambda: len(diary.methods("tools/call")) == 2)
        held = asyncio.create_task(here.call("hold", caller=session("b")))
        await until(lambda: len(diary.methods("tools/call")) == 3)
        waiting = asyncio.create_task(here.call(caller=session("c")))
        await until(lambda: here.mcp.waiting)
        await here.mcp.stop_server(LOCAL, "toy")
        assert running(here) == 0
        assert (here.record().state, here.record().reason) == (State.STOPPED, "stopped on request")
        with pytest.raises(ServerDown, match="stopped on request"):
            await waiting
        for call in (busy, held):
            with pytest.raises(CallInterrupted):
                await call
        with pytest.raises(ServerDown, match="is stopped"):
            await here.call(caller=session("d"))
        await here.mcp.start_server(LOCAL, "toy")
        await here.reaches(State.READY)
        assert await told(here, "2", session("b")) == ["2"]
        assert running(here) == 1


async def test_a_restart_ends_all_instances_and_begins_one() -> None:
    async with world(Diary(), kept(max_instances=2)) as here:
        for name in "ab":
            await told(here, "1", session(name))
        await here.mcp.restart_server(LOCAL, "toy")
        await here.reaches(State.READY)
        assert running(here) == 1
        assert await told(here, "2", session("a")) == ["2"]


async def test_acts_at_the_same_time_keep_the_cap_and_end_in_the_last_wish() -> None:
    diary = Diary()
    diary.deaf = True
    async with world(diary, kept(max_instances=2)) as here:
        for name in "ab":
            await told(here, "1", session(name))
        most = 0

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, running(here))
                await asyncio.sleep(0)

        watching = asyncio.create_task(watch())
        acts = (here.mcp.stop_server, here.mcp.start_server, here.mcp.restart_server)
        await asyncio.gather(*(act(LOCAL, "toy") for act in (*acts, *reversed(acts), *acts)))
        await here.reaches(State.READY)
        watching.cancel()
        assert most == 2
        assert running(here) == 1


async def test_a_removed_server_leaves_nothing() -> None:
    async with world(Diary(), spec("other"), other=Toy()) as here:
        await here.mcp.add(LOCAL, kept(origin=Origin.API))
        for name in "abc":
            await told(here, "1", session(name))
        await here.mcp.remove(LOCAL, ServerName("toy"))
        assert running(here) == 0


async def test_a_disabled_server_is_started_only_by_a_person() -> None:
    async with world(Diary(), kept(start=StartPolicy.DISABLED)) as here:
        with pytest.raises(ServerDown, match="is disabled: disabled by its entry"):
            await here.call()
        await here.mcp.start_server(LOCAL, "toy")
        for name in "ab":
            assert await told(here, "1", session(name)) == ["1"]


async def test_arguments_that_do_not_fit_start_nothing() -> None:
    async with world(Toy(), kept()) as here:
        await here.call(n=1)
        with pytest.raises(Exception, match="is not of type"):
            await here.call(caller=session("b"), n="x")
        with pytest.raises(ToolNotFound):
            await here.call("nothing", caller=session("c"))
        assert len(here.children) == 2


async def test_an_instance_is_shown_by_a_digest_of_its_session() -> None:
    async with world(Diary(), kept()) as here:
        for name in ("secret-session", "another"):
            await told(here, "1", session(name))
        members = here.mcp.members()[ServerName("toy")]
        assert len({member.label for member in members}) == 2
        assert all(len(member.label) == 12 for member in members)
        shown = msgspec.json.encode(msgspec.to_builtins([each.record for each in members]))
        assert b"secret-session" not in shown
        assert [traffic.in_flight for traffic in here.mcp.traffic()[ServerName("toy")]] == [0, 0]


async def test_a_call_of_any_method_goes_to_the_sessions_instance() -> None:
    async with world(Diary(), kept()) as here:
        for name in "ab":
            answer = await here.mcp.execute(session(name), "toy", "tools/list", {}, timeout=SOON)
            assert b"echo" in bytes(answer)
        assert running(here) == 2
