"""A server whose instances belong to one session, one caller or one call each."""

import asyncio
import hashlib
from collections.abc import Sequence
from itertools import count

import msgspec

from domain.model.callers import Caller
from domain.model.servers import (
    BROKEN,
    ServerDown,
    ServerRecord,
    ServerSpec,
    ServerState,
    Sessions,
    StartPolicy,
)
from domain.orchestration import supervision
from domain.orchestration.gate import RETRY_AFTER, Busy, WaitedTooLong
from domain.orchestration.group import Group, T, Work
from domain.orchestration.joint import joined, remembered
from domain.orchestration.life import Listed, Parts
from domain.orchestration.runner import Runner
from domain.orchestration.seats import Key, Seat, Seats

SPARE = "spare"
DIGEST_DIGITS = 12
# Enough to tell some instances apart; what the key is cannot be read from it.
_RESTING = frozenset({ServerState.IDLE, ServerState.STOPPED, ServerState.DISABLED})


class KeyedGroup(Group):
    """Starts an instance on a key's first use; no key ever meets another's.

    The spare belongs to nobody so far: the next new key takes it, running or not. An instance
    that could not be started becomes the spare, and while it backs off no other is begun: what
    keeps one from starting mostly keeps all. One that ran and ended backs off on its own.

    A spare that runs takes a place as well: it is begun only where there is room, and whoever
    comes next takes it over. At the cap the least recently used instance without a call makes
    room; where there is none calls wait, first come, first served.
    """

    def __init__(self, spec: ServerSpec, parts: Parts, listed: Listed) -> None:
        super().__init__(spec, parts, listed)
        self._seats = Seats[Runner](spec.max_instances)
        self._waiting: dict[asyncio.Future[Seat[Runner]], Key] = {}
        self._endings: set[asyncio.Task[None]] = set()
        self._calls = count(1)
        self._out: ServerRecord | None = None
        if self._state is ServerState.DISABLED:
            self._out = self._past
        self._closed = False
        self._wants_spare = False
        self._spare = self._new_spare()

    @property
    def waiting(self) -> int:
        """How many calls wait for an instance or for their turn at it."""
        return len(self._waiting) + super().waiting

    async def carry_out(self, caller: Caller, deadline: float, work: Work[T]) -> T:
        """The instance is started where it must be, and is nobody else's meanwhile."""
        seat = await self._seat(self._key(caller), deadline)
        try:
            return await work(seat.instance)
        finally:
            self._leave(seat)

    def start(self) -> None:
        """Begin a spare where nothing runs; failed instances are tried at once."""
        if self._closed:
            raise self._down()
        self._out = None
        for seat in self._seats.held:
            if seat.instance.state in BROKEN:
                seat.instance.start()
        self._wants_spare = not self._seats.held or self._spare.state in BROKEN
        self._settle()

    async def stop(self, reason: str) -> None:
        if self._out is None:
            self._out = msgspec.structs.replace(
                self._past, state=ServerState.STOPPED, reason=reason
            )
        self._end_all(reason)
        await self._ended()

    async def restart(self, reason: str) -> None:
        """What the instances kept is gone with them."""
        if self._closed:
            raise self._down()
        self._end_all(reason)
        self.start()
        await self._ended()

    async def close(self, reason: str) -> None:
        self._closed = True
        await self.stop(reason)

    def _runners(self) -> Sequence[Runner]:
        owned = [seat.instance for seat in (*self._seats.held, *self._seats.ending)]
        return [*owned, self._spare] if self._spare_runs or not owned else owned

    def _joint(self) -> ServerRecord:
        owned = [seat.instance.record for seat in self._seats.held]
        shown = [*owned, self._spare.record] if self._spare_runs or not owned else owned
        ending = [seat.instance.record for seat in self._seats.ending]
        joint = joined(shown, remembered([*ending, self._past]))
        if self._out is None:
            return joint
        state = ServerState.STOPPING if self._seats.ending else self._out.state
        return msgspec.structs.replace(joint, state=state, reason=self._out.reason)

    @property
    def _spare_runs(self) -> bool:
        return self._spare.state not in _RESTING

    def _new_spare(self) -> Runner:
        # Whether the server is to run at all is the group's business.
        spec = msgspec.structs.replace(self.spec, start=StartPolicy.LAZY)
        return Runner(spec, self._parts, self._listed, SPARE, self._heard)

    def _key(self, caller: Caller) -> Key:
        match self.spec.sessions:
            case Sessions.PER_SESSION:
                # Two callers may name their sessions alike.
                return (caller.id, caller.session)
            case Sessions.PER_CALLER:
                return (caller.id,)
            case _:
                return (str(next(self._calls)),)

    def _label(self, key: Key) -> str:
        if self.spec.sessions is Sessions.PER_CALL:
            return key[0]
        return hashlib.sha256("\0".join(key).encode()).hexdigest()[:DIGEST_DIGITS]

    async def _seat(self, key: Key, deadline: float) -> Seat[Runner]:
        seat = self._try(key)
        if seat is not None:
            return seat
        if len(self._waiting) >= self.spec.limits.queue:
            raise Busy(
                f"The server {self.spec.name!r} is busy: all of its {self.spec.max_instances} "
                f"instances are in use and {len(self._waiting)} calls wait.",
                retry_after=RETRY_AFTER,
            )
        coming: asyncio.Future[Seat[Runner]] = asyncio.get_running_loop().create_future()
        self._waiting[coming] = key
        self._make_room()
        try:
            async with asyncio.timeout(deadline - self._parts.clock.monotonic()):
                return await coming
        except BaseException as error:
            self._give_up(coming)
            if isinstance(error, TimeoutError):
                raise WaitedTooLong(
                    f"The server {self.spec.name!r} had no free instance until the deadline.",
                    retry_after=RETRY_AFTER,
                ) from None
            raise

    def _give_up(self, coming: "asyncio.Future[Seat[Runner]]") -> None:
        self._waiting.pop(coming, None)
        coming.cancel()
        if not coming.cancelled() and coming.exception() is None:
            self._leave(coming.result())  # it came in the same moment

    def _try(self, key: Key) -> Seat[Runner] | None:
        """The key's seat, taken; None where there is no room for one. Raises ServerDown."""
        seat = self._seats.find(key)
        if seat is None:
            spare = self._spare
            if self._out is not None:
                raise self._down()
            if spare.session is None and not spare.coming_up:
                raise spare.down()
            if not self._seats.room:
                return None
            spare.label, self._spare, self._wants_spare = self._label(key), self._new_spare(), False
            seat = self._seats.add(key, spare)
        self._seats.take(seat)
        return seat

    def _leave(self, seat: Seat[Runner]) -> None:
        if not self._seats.leave(seat):
            return
        runner = seat.instance
        never_ran = runner.state in BROKEN and runner.record.ready_at is None
        if never_ran and not self._spare_runs:
            self._spare, runner.label = self._seats.give_up(seat), SPARE
        elif never_ran or runner.state in _RESTING or self.spec.sessions is Sessions.PER_CALL:
            self._end(seat, "its calls are over")
        self._settle()

    def _settle(self) -> None:
        """Give those who wait what there is for them."""
        for coming, key in tuple(self._waiting.items()):
            if coming.done():
                continue  # its caller has just left
            try:
                seat = self._try(key)
            except ServerDown as failure:
                del self._waiting[coming]
                coming.set_exception(failure)
                continue
            if seat is not None:
                del self._waiting[coming]
                coming.set_result(seat)
        self._make_room()
        if self._wants_spare and self._seats.room:
            self._wants_spare = False
            self._spare.start()
        self._note()

    def _make_room(self) -> None:
        """End as many idle instances as there are keys that wait, the oldest use first."""
        wanted = len(set(self._waiting.values()))
        while len(self._seats.ending) < wanted and (seat := self._seats.idle()) is not None:
            self._end(seat, "it made room for another")

    def _heard(self) -> None:
        """An instance's record is another: one that rests and is nobody's now disappears."""
        for seat in self._seats.held:
            if seat.instance.state is ServerState.IDLE and not seat.users:
                self._end(seat, "it was not used")
        self._note()

    def _end_all(self, reason: str) -> None:
        for seat in self._seats.held:
            self._end(seat, reason)
        if self._spare_runs:
            self._end(Seat((SPARE,), self._spare), reason)
            self._spare = self._new_spare()
        self._wants_spare = False
        self._settle()

    def _end(self, seat: Seat[Runner], reason: str) -> None:
        self._seats.end(seat)
        ending = asyncio.create_task(self._end_one(seat, reason))
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    async def _end_one(self, seat: Seat[Runner], reason: str) -> None:
        try:
            await seat.instance.close(reason)
        finally:
            self._seats.gone(seat)
            self._past = remembered([seat.instance.record, self._past])
            self._settle()

    async def _ended(self) -> None:
        """Until nothing is left of what is being ended now."""
        if self._endings:
            await asyncio.wait(tuple(self._endings))

    def _down(self) -> ServerDown:
        return supervision.down(self.record, self._parts.clock.now())
