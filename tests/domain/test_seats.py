"""Seats walked at random, and whole groups of instances with callers that come and go."""

import asyncio
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from adapters.inmemory.launcher import Peer
from domain.errors import Failure
from domain.model.callers import Caller, CallerId, Scope
from domain.model.servers import Sessions
from domain.orchestration.seats import Seat, Seats
from tests.domain.toys import HASTY, Diary, running, spec, words, world

MOST = 3
KEYS = st.sampled_from([(letter,) for letter in "abcdef"])


class Walk(RuleBasedStateMachine):
    """Calls that begin and end, instances that are ended, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.seats = Seats[int](MOST)
        self.made = 0
        self.owner: dict[int, tuple[str, ...]] = {}
        self.calls: list[Seat[int]] = []

    @rule(key=KEYS)
    def a_call_begins(self, key: tuple[str, ...]) -> None:
        seat = self.seats.find(key)
        if seat is None:
            if not self.seats.room:
                return
            self.made += 1
            seat = self.seats.add(key, self.made)
        assert self.owner.setdefault(seat.instance, key) == key
        self.seats.take(seat)
        self.calls.append(seat)
        assert self.seats.held[-1] is seat

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def a_call_ends(self, data: st.DataObject) -> None:
        seat = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        last = self.seats.leave(seat)
        assert last == (seat not in self.calls and seat in self.seats.held)

    @rule()
    def the_oldest_makes_room(self) -> None:
        seat = self.seats.idle()
        unused = [each for each in self.seats.held if each not in self.calls]
        assert seat is (unused[0] if unused else None)
        if seat is not None:
            self.seats.end(seat)

    @precondition(lambda self: self.seats.held)
    @rule(data=st.data())
    def one_is_stopped(self, data: st.DataObject) -> None:
        self.seats.end(data.draw(st.sampled_from(self.seats.held)))

    @precondition(lambda self: self.seats.ending)
    @rule(data=st.data())
    def one_is_gone(self, data: st.DataObject) -> None:
        self.seats.gone(data.draw(st.sampled_from(self.seats.ending)))

    @invariant()
    def never_more_than_may_be(self) -> None:
        number = len(self.seats.held) + len(self.seats.ending)
        assert number <= MOST
        assert self.seats.room == (number < MOST)

    @invariant()
    def one_seat_a_key_and_its_users_counted(self) -> None:
        keys = [seat.key for seat in self.seats.held]
        assert len(keys) == len(set(keys))
        users = Counter(id(seat) for seat in self.calls)
        assert all(seat.users == users[id(seat)] for seat in self.seats.held)


TestWalk = Walk.TestCase


class Watched(Diary):
    """Notes every process that is ended while a call is under way in it."""

    def __init__(self) -> None:
        super().__init__()
        self.busy: set[Peer] = set()
        self.cut_off = 0
        self.go.set()

    async def __call__(self, peer: Peer) -> int:
        try:
            return await super().__call__(peer)
        finally:
            self.cut_off += peer in self.busy

    async def _take(self, peer: Peer, message: dict[str, object]) -> int | None:
        if message.get("method") != "tools/call":
            return await super()._take(peer, message)
        self.busy.add(peer)
        await asyncio.sleep(0.001)
        code = await super()._take(peer, message)
        self.busy.discard(peer)
        return code


ACTS = ("call", "call", "call", "leave", "die", "kill")


@settings(deadline=None, max_examples=25)
@given(
    st.sampled_from([each for each in Sessions if each is not Sessions.SHARED]),
    st.integers(1, 4),
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.sampled_from(ACTS), st.integers(0, 2)),
        max_size=40,
    ),
)
def test_no_order_of_calls_and_crashes_mixes_keys_or_goes_over_the_cap(
    sessions: Sessions, most: int, acts: list[tuple[str, str, int]]
) -> None:
    async def run() -> None:
        diary, done, highest = Watched(), asyncio.Event(), 0
        given_spec = spec(sessions=sessions, max_instances=most)

        async def act(name: str, what: str, pause: int) -> None:
            caller = Caller(id=CallerId(name), scopes=frozenset(Scope), session=name)
            calling = asyncio.create_task(
                here.call("die" if what == "die" else "echo", caller=caller, word=name)
            )
            if what == "leave":
                await asyncio.sleep(pause / 1000)
                calling.cancel()
            try:
                said = words(await calling)
            except (Failure, asyncio.CancelledError):
                return
            assert set(said) == {name}
            assert sessions is not Sessions.PER_CALL or said == [name]

        async def watch() -> None:
            nonlocal highest
            while not done.is_set():
                highest = max(highest, running(here))
                await asyncio.sleep(0)

        async with world(diary, given_spec, policy=HASTY) as here:
            watching = asyncio.create_task(watch())
            works = []
            for name, what, pause in acts:
                if what == "kill" and here.children:
                    here.children[-1 - pause % len(here.children)].kill()
                works.append(asyncio.create_task(act(name, what, pause)))
                await asyncio.sleep(pause / 1000)
            await asyncio.gather(*works)
            crashes = {"die", "kill", "leave"} & {what for _, what, _ in acts}
            assert crashes or not diary.cut_off
            assert here.mcp.waiting == 0
            done.set()
            await watching
            assert highest <= most

    asyncio.run(run())
