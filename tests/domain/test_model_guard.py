"""A model behind a breaker: what counts, and what is spared."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta

import pytest

from adapters.inmemory.model import ScriptedLanguageModel
from adapters.inmemory.system import ManualClock
from domain.errors import Failure
from domain.model.breakers import BreakerPolicy, BreakerState
from domain.model_guard import GuardedModel
from domain.ports.models import (
    ModelAnswer,
    ModelRefused,
    ModelRequest,
    ModelText,
    ModelUnavailable,
)

pytestmark = pytest.mark.anyio

ASK = ModelRequest(instructions="", messages=())
WELL = ModelAnswer(text="well")
PAUSE = timedelta(seconds=4)
POLICY = BreakerPolicy(failures=2, first_pause=PAUSE)


def away() -> ModelUnavailable:
    return ModelUnavailable("It is away.")


class Held:
    """Answers once it is let go, with a failure where it was given one."""

    name = "held"

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.failure: Failure | None = None

    async def answer(
        self,
        request: ModelRequest,  # noqa: ARG002 - the port's signature
    ) -> AsyncGenerator[ModelText | ModelAnswer, None]:
        yield ModelText(text="we")
        await self.go.wait()
        if self.failure is not None:
            raise self.failure
        yield WELL

    async def probe(self) -> None:
        """It is there."""


async def ask(model: GuardedModel) -> list[ModelText | ModelAnswer]:
    async with aclosing(model.answer(ASK)) as pieces:
        return [piece async for piece in pieces]


async def fail(model: GuardedModel, times: int) -> None:
    for _ in range(times):
        with pytest.raises(ModelUnavailable):
            await ask(model)


async def test_a_model_that_is_away_is_not_asked_for_a_while() -> None:
    clock, script = ManualClock(), ScriptedLanguageModel([away(), away(), WELL])
    model = GuardedModel(script, clock, POLICY)
    await fail(model, 2)

    with pytest.raises(ModelUnavailable, match="It is away") as refused:
        await ask(model)
    assert (refused.value.retry_after, len(script.requests)) == (PAUSE, 2)

    clock.advance(PAUSE)
    assert (await ask(model))[-1] == WELL
    assert model.breaker.state is BreakerState.CLOSED
    assert (model.in_flight, model.latency_ms) == (0, 0.0)


async def test_a_refusal_is_an_answer() -> None:
    script = ScriptedLanguageModel([away(), ModelRefused("No."), away(), WELL])
    model = GuardedModel(script, ManualClock(), POLICY)
    await fail(model, 1)
    with pytest.raises(ModelRefused):
        await ask(model)
    await fail(model, 1)

    assert (await ask(model))[-1] == WELL


async def test_a_trial_whose_caller_leaves_goes_to_the_next() -> None:
    clock, held = ManualClock(), Held()
    model = GuardedModel(held, clock, POLICY)
    held.failure = away()
    held.go.set()
    await fail(model, 2)
    clock.advance(PAUSE)
    held.go.clear()
    held.failure = None
    async with aclosing(model.answer(ASK)) as pieces:
        await anext(pieces)
        assert model.breaker.state is BreakerState.HALF_OPEN
        await fail(model, 1)
        assert model.in_flight == 1
    held.go.set()

    assert (await ask(model))[-1] == WELL


async def test_failures_side_by_side_open_it_once_and_late_ones_change_nothing() -> None:
    clock, held = ManualClock(), Held()
    model = GuardedModel(held, clock, POLICY)
    held.failure = away()
    asking = [asyncio.create_task(ask(model)) for _ in range(9)]
    await asyncio.sleep(0)
    held.go.set()
    await asyncio.gather(*asking, return_exceptions=True)

    assert (model.breaker.opened, model.breaker.retry_at) == (1, clock.now() + PAUSE)


async def test_a_reset_lets_requests_through_at_once() -> None:
    model = GuardedModel(ScriptedLanguageModel([away(), away(), WELL]), ManualClock(), POLICY)
    await fail(model, 2)
    model.reset()

    assert (await ask(model))[-1] == WELL


async def test_a_probe_sees_the_truth_while_the_breaker_is_open() -> None:
    model = GuardedModel(ScriptedLanguageModel([away(), away()]), ManualClock(), POLICY)
    await fail(model, 2)
    await model.probe()
    assert model.breaker.state is BreakerState.OPEN
