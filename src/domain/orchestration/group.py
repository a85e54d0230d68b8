"""The instances that run under one server's name, and which of them takes a call."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import msgspec

from domain.errors import Failure
from domain.model.callers import Caller
from domain.model.servers import BROKEN, ServerRecord, ServerSpec, ServerState
from domain.orchestration import supervision
from domain.orchestration.joint import joined
from domain.orchestration.life import Listed, Parts
from domain.orchestration.runner import Runner
from domain.ports.mcp import Traffic

T = TypeVar("T")
Work = Callable[[Runner], Awaitable[T]]
# What is done with an instance while it is a caller's.


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One instance as it is now; its `label` is empty where there are no others.

    `traffic` is None without an open session, `latency_ms` before the first answer.
    """

    label: str
    record: ServerRecord
    traffic: Traffic | None
    latency_ms: float | None


class Group(ABC):
    """All that runs under one name.

    `sole` is the one instance where there can be no other: whoever has it needs nothing else.
    """

    sole: Runner | None = None

    def __init__(self, spec: ServerSpec, parts: Parts, listed: Listed) -> None:
        self.spec = spec
        self._parts = parts
        self._listed = listed
        self._past = supervision.new_record(spec, parts.clock.now())
        self._state, self._since = self._past.state, self._past.since

    @property
    def record(self) -> ServerRecord:
        """The server's one record, of all its instances."""
        if self.sole is not None:
            return self.sole.record
        return msgspec.structs.replace(self._joint(), since=self._since)

    def members(self) -> tuple[Member, ...]:
        """Every instance there is, at least one."""
        return tuple(map(_member, self._runners()))

    @property
    def waiting(self) -> int:
        """How many calls wait for their turn."""
        return sum(runner.gate.waiting for runner in self._runners())

    def log_tail(self) -> tuple[str, ...]:
        """The last lines of diagnostics, oldest first within each instance."""
        if self.sole is not None:
            return self.sole.log_tail()
        return tuple(
            f"{runner.label}: {line}" for runner in self._runners() for line in runner.log_tail()
        )

    async def come_up(self, deadline: float) -> None:
        """Return once a start under way has ended, well or not; at `deadline` (monotonic)."""
        starting = [run for run in self._runners() if run.state is ServerState.STARTING]
        if starting:
            with suppress(Failure):
                await starting[0].serving(deadline)

    @abstractmethod
    async def carry_out(self, caller: Caller, deadline: float, work: Work[T]) -> T:
        """Do `work` with the instance that is the caller's, and return what it returns.

        Raises:
            ServerDown: at once, where no instance takes calls.
            Busy, WaitedTooLong: no instance was free until `deadline` (monotonic).
        """

    @abstractmethod
    def start(self) -> None:
        """As `Runner.start`, for all instances that are to run unasked."""

    def reset(self) -> None:
        """Let calls through: instances that wait are tried at once, and breakers are closed."""
        if any(runner.state in BROKEN for runner in self._runners()):
            self.start()
        for runner in self._runners():
            runner.vitals.breaker.reset()

    @abstractmethod
    async def stop(self, reason: str) -> None:
        """As `Runner.stop`, for all instances."""

    @abstractmethod
    async def restart(self, reason: str) -> None:
        """As `Runner.restart`, for all instances."""

    @abstractmethod
    async def close(self, reason: str) -> None:
        """As `Runner.close`, for all instances."""

    @abstractmethod
    def _runners(self) -> Sequence[Runner]:
        """Every instance there is, at least one."""

    def _joint(self) -> ServerRecord:
        return joined([runner.record for runner in self._runners()], self._past)

    def _note(self) -> None:
        """Keep since when the server is in its state."""
        state = self._joint().state
        if state is not self._state:
            self._state, self._since = state, self._parts.clock.now()


def _member(runner: Runner) -> Member:
    session = runner.session
    return Member(
        label=runner.label,
        record=runner.record,
        traffic=session.traffic if session is not None else None,
        latency_ms=runner.vitals.latency_ms,
    )
