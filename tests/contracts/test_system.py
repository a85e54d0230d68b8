"""What time and chance promise, the machine's own and the ones in a test's hand."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import uvloop

from adapters.inmemory.system import ManualClock, SeededChance
from adapters.system import SystemChance, SystemClock
from domain.ports.system import Chance, Clock

CLOCKS: list[Clock] = [SystemClock(), ManualClock()]
CHANCES: list[Chance] = [SystemChance(), SeededChance(1)]


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_clock_tells_utc_and_never_falls(clock: Clock) -> None:
    assert clock.now().tzinfo is UTC
    readings = [clock.monotonic() for _ in range(100)]
    assert readings == sorted(readings)


def test_the_systems_clock_is_the_worlds() -> None:
    assert abs(SystemClock().now() - datetime.now(UTC)) < timedelta(seconds=1)


@pytest.mark.parametrize(
    "loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
def test_the_systems_monotonic_clock_is_the_event_loops(loop_factory: object) -> None:
    async def compare() -> float:
        await asyncio.sleep(0)  # uvloop reads its clock once a round
        return abs(asyncio.get_running_loop().time() - SystemClock().monotonic())

    async def time_out() -> None:
        async with asyncio.timeout_at(SystemClock().monotonic() + 0.01):
            await asyncio.Event().wait()

    with asyncio.Runner(loop_factory=loop_factory) as runner:  # type: ignore[arg-type]
        assert runner.run(compare()) < 0.1
        with pytest.raises(TimeoutError):
            runner.run(time_out())


def test_a_manual_clock_moves_only_when_told_and_never_back() -> None:
    clock = ManualClock()
    before, start = clock.now(), clock.monotonic()
    clock.advance(timedelta(milliseconds=1500))
    assert clock.now() - before == timedelta(seconds=1.5)
    assert clock.monotonic() - start == 1.5
    with pytest.raises(ValueError, match="-1 day"):
        clock.advance(timedelta(seconds=-1))


@pytest.mark.parametrize("chance", CHANCES)
def test_ids_are_canonical_unique_and_in_order(chance: Chance) -> None:
    ids = [chance.new_id() for _ in range(5000)]
    assert ids == sorted(set(ids))
    assert all(str(UUID(an_id)) == an_id and UUID(an_id).version == 7 for an_id in ids)


@pytest.mark.parametrize("chance", CHANCES)
def test_fractions_are_spread_over_their_range(chance: Chance) -> None:
    fractions = [chance.fraction() for _ in range(1000)]
    assert all(0 <= fraction < 1 for fraction in fractions)
    assert 0.4 < sum(fractions) / len(fractions) < 0.6


def test_a_seed_replays_and_another_differs() -> None:
    def run(seed: int) -> list[object]:
        chance = SeededChance(seed)
        return [chance.fraction(), chance.new_id(), chance.fraction(), chance.new_id()]

    assert run(1) == run(1)
    assert not set(run(1)) & set(run(2))


def test_ids_of_the_system_carry_the_time() -> None:
    made = UUID(SystemChance().new_id()).int >> 80
    assert abs(made / 1000 - SystemClock().now().timestamp()) < 1
