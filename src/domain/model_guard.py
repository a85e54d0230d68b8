"""A language model behind a breaker: it is not asked while it surely would not answer."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from domain.model.breakers import Breaker, BreakerOpen, BreakerPolicy
from domain.model.latency import smoothed
from domain.ports.models import (
    LanguageModel,
    ModelAnswer,
    ModelRefused,
    ModelRequest,
    ModelText,
    ModelUnavailable,
)
from domain.ports.system import Clock
from domain.timed_breaker import USUAL, Spell, TimedBreaker


class GuardedModel:
    """Passes requests on, unless the model failed too often just now.

    `latency_ms` is a moving mean over whole answers, None before the first.
    """

    def __init__(self, model: LanguageModel, clock: Clock, policy: BreakerPolicy = USUAL) -> None:
        self._model = model
        self._clock = clock
        self._timed = TimedBreaker(clock, policy)
        self.in_flight = 0
        self.latency_ms: float | None = None

    @property
    def name(self) -> str:
        return self._model.name

    @property
    def breaker(self) -> Breaker:
        """The breaker as it is now."""
        return self._timed.now

    async def answer(self, request: ModelRequest) -> AsyncGenerator[ModelText | ModelAnswer, None]:
        """As the port says; while the breaker is open ModelUnavailable at once, unasked."""
        spell = self._admitted()
        begun = self._clock.monotonic()
        self.in_flight += 1
        try:
            async with aclosing(self._model.answer(request)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, ModelAnswer):
                        took_ms = (self._clock.monotonic() - begun) * 1000
                        self.latency_ms = smoothed(self.latency_ms, took_ms)
                        self._timed.succeeded(spell)
                    yield piece
        except ModelUnavailable as failure:
            self._timed.failed(spell, failure.message)
            raise
        except ModelRefused:
            self._timed.succeeded(spell)
            raise
        finally:
            self.in_flight -= 1
            # Whatever was noted before ended the trial; what is left is a caller who went away.
            self._timed.abandoned(spell)

    async def probe(self) -> None:
        """Past the breaker: whoever looks is to see the truth."""
        await self._model.probe()

    def reset(self) -> None:
        """Ask it again from now on."""
        self._timed.reset()

    def _admitted(self) -> Spell:
        """Raises ModelUnavailable."""
        try:
            return self._timed.admit()
        except BreakerOpen as refusal:
            raise ModelUnavailable(
                f"The model {self.name} is not asked now. {refusal.message}",
                retry_after=refusal.retry_after,
                model=self.name,
            ) from refusal
