"""A timed breaker at work: who may ask now, and what the outcomes mean for the next."""

from collections.abc import Callable
from typing import NewType

from domain.model.breakers import Breaker, BreakerPolicy, BreakerState
from domain.ports.system import Clock

Spell = NewType("Spell", int)
# From one change of the breaker's state to the next.

USUAL = BreakerPolicy()


def nobody() -> None:
    """Nobody wants to know."""


class TimedBreaker:
    """Counts outcomes; one of a request that began in an earlier spell says nothing new.

    `changed` is told after each change of its state.
    """

    def __init__(
        self, clock: Clock, policy: BreakerPolicy = USUAL, changed: Callable[[], None] = nobody
    ) -> None:
        self._clock = clock
        self._changed = changed
        self._spell = 0
        self.now = Breaker(policy=policy, since=clock.now())

    def admit(self) -> Spell:
        """One more request; its outcome belongs to the spell. Raises BreakerOpen."""
        if self.now.state is not BreakerState.CLOSED:
            self._set(self.now.admitted(self._clock.now()))
        return Spell(self._spell)

    def succeeded(self, spell: Spell) -> None:
        """It was answered, whatever the answer says."""
        if spell == self._spell and (
            self.now.failures or self.now.state is not BreakerState.CLOSED
        ):
            self._set(self.now.succeeded(self._clock.now()))

    def failed(self, spell: Spell, reason: str) -> None:
        """It was not answered."""
        if spell == self._spell:
            self._set(self.now.failed(self._clock.now(), reason))

    def abandoned(self, spell: Spell) -> None:
        """Its caller gave it up; after another outcome of the same request this says nothing."""
        if spell == self._spell:
            self._set(self.now.abandoned(self._clock.now()))

    def reset(self) -> None:
        """Ask again from now on."""
        self._set(self.now.succeeded(self._clock.now()))
        self._spell += 1

    def _set(self, breaker: Breaker) -> None:
        before, self.now = self.now, breaker
        if breaker.state is not before.state:
            self._spell += 1
            self._changed()
