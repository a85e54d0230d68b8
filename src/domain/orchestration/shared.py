"""A server that all callers share: one instance, or replicas that take turns."""

import asyncio
import hashlib
from collections.abc import Sequence

from domain.model.callers import Caller, CallerId
from domain.model.servers import Balance, ServerDown, ServerSpec, ServerState
from domain.orchestration.group import Group, T, Work
from domain.orchestration.life import Listed, Parts
from domain.orchestration.runner import Runner


class SharedGroup(Group):
    """Replicas are equal: a call goes to one that serves, by the spec's balance."""

    def __init__(self, spec: ServerSpec, parts: Parts, listed: Listed) -> None:
        super().__init__(spec, parts, listed)
        self._turn = 0
        if spec.replicas == 1:
            replicas = [Runner(spec, parts, listed)]
            self.sole = replicas[0]
        else:
            replicas = [
                Runner(spec, parts, listed, str(number), self._note)
                for number in range(1, spec.replicas + 1)
            ]
        self._replicas = tuple(replicas)

    async def carry_out(self, caller: Caller, deadline: float, work: Work[T]) -> T:  # noqa: ARG002 - the group's
        """A call of which nothing was sent goes to another replica that serves."""
        left = list(range(len(self._replicas)))
        while True:
            number = self._picked(caller, left)
            left.remove(number)
            try:
                return await work(self._replicas[number])
            except ServerDown:
                if not any(self._replicas[other].session is not None for other in left):
                    raise

    def start(self) -> None:
        for runner in self._replicas:
            runner.start()

    async def stop(self, reason: str) -> None:
        await asyncio.gather(*(runner.stop(reason) for runner in self._replicas))

    async def restart(self, reason: str) -> None:
        await asyncio.gather(*(runner.restart(reason) for runner in self._replicas))

    async def close(self, reason: str) -> None:
        await asyncio.gather(*(runner.close(reason) for runner in self._replicas))

    def _runners(self) -> Sequence[Runner]:
        return self._replicas

    def _picked(self, caller: Caller, numbers: Sequence[int]) -> int:
        """One of those that can best take a call; the first call wakes all that rest."""
        replicas = self._replicas
        if len(replicas) == 1:
            return 0
        for number in numbers:
            if replicas[number].state is ServerState.IDLE:
                replicas[number].start()
        best = min(_reluctance(replicas[number]) for number in numbers)
        able = [number for number in numbers if _reluctance(replicas[number]) == best]
        if self.spec.balance is Balance.STICKY:
            return max(able, key=lambda number: affinity(caller.id, number))
        able = [number for number in able if replicas[number].gate.has_room] or able
        if self.spec.balance is Balance.ROUND_ROBIN:
            picked = min(able, key=self._after)
        else:
            picked = min(able, key=lambda number: (replicas[number].gate.load, self._after(number)))
        self._turn = picked + 1
        return picked

    def _after(self, number: int) -> int:
        """How many turns it is until this one's."""
        return (number - self._turn) % len(self._replicas)


def _reluctance(runner: Runner) -> int:
    """0 for one that is well, then one that is silent, one that comes up, and one that is down."""
    if runner.session is not None:
        return int(runner.state is ServerState.DEGRADED)
    return 2 if runner.coming_up else 3


def affinity(caller: CallerId, number: int) -> bytes:
    """Highest for the replica that is the caller's, in every process and life of this system.

    Without a replica only its own callers go elsewhere (rendezvous hashing).
    """
    return hashlib.sha256(f"{caller}\0{number}".encode()).digest()
