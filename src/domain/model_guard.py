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

_USUAL = BreakerPolicy()


class GuardedModel:
    """Passes requests on, unless the model failed too often just now.

    `latency_ms` is a moving mean over whole answers, None before the first.
    """

    def __init__(self, model: LanguageModel, clock: Clock, policy: BreakerPolicy = _USUAL) -> None:
        self._model = model
        self._clock = clock
        self._spell = 0
        self.breaker = Breaker(policy=policy, since=clock.now())
        self.in_flight = 0
        self.latency_ms: float | None = None

    @property
    def name(self) -> str:
        return self._model.name

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
                        self._note(spell, self.breaker.succeeded(self._clock.now()))
                    yield piece
        except ModelUnavailable as failure:
            self._note(spell, self.breaker.failed(self._clock.now(), failure.message))
            raise
        except ModelRefused:
            self._note(spell, self.breaker.succeeded(self._clock.now()))
            raise
        finally:
            self.in_flight -= 1
            # Whatever was noted before ended the trial; what is left is a caller who went away.
            self._note(spell, self.breaker.abandoned(self._clock.now()))

    async def probe(self) -> None:
        """Past the breaker: whoever looks is to see the truth."""
        await self._model.probe()

    def reset(self) -> None:
        """Ask it again from now on."""
        self._spell += 1
        self.breaker = self.breaker.succeeded(self._clock.now())

    def _admitted(self) -> int:
        """The spell to which the request's outcome belongs. Raises ModelUnavailable."""
        try:
            self._set(self.breaker.admitted(self._clock.now()))
        except BreakerOpen as refusal:
            raise ModelUnavailable(
                f"The model {self.name} is not asked now. {refusal.message}",
                retry_after=refusal.retry_after,
                model=self.name,
            ) from refusal
        return self._spell

    def _note(self, spell: int, after: Breaker) -> None:
        """Count an outcome; one of a request that began in an earlier spell says nothing new."""
        if spell == self._spell:
            self._set(after)

    def _set(self, breaker: Breaker) -> None:
        if breaker.state is not self.breaker.state:
            self._spell += 1
        self.breaker = breaker
