"""Answers that come late, twice or to someone else, and progress: each reaches its own call."""

import asyncio
import json
from collections import Counter
from typing import Any

import msgspec
import pytest

from domain.model.servers import Limits, ServerName
from domain.model.tasks import TaskProgress
from domain.model.tools import CallInterrupted, CallTimedOut, PeerRefused, ToolResult
from tests.chaos.conftest import ERAS, Chaos, chaos
from tests.domain.toys import until

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("era", ERAS)]

AT_ONCE = 32
NAME = ServerName("chaos")


def said(result: ToolResult) -> str:
    text: str = msgspec.json.decode(result.content)[0]["text"]
    return text


async def echoes(here: Chaos, number: int = AT_ONCE) -> None:
    """Many calls at once, each answered with its own words."""
    results = await asyncio.gather(*(here.call("echo", n=n) for n in range(number)))
    assert [json.loads(said(result)) for result in results] == [{"n": n} for n in range(number)]


async def restarted(here: Chaos, reason: str) -> None:
    """It serves again, and its record says why it ended."""
    await until(lambda: (r := here.mcp.record("chaos")).restarts == 1 and r.state == "ready")
    failure = here.mcp.record("chaos").last_failure
    assert failure is not None
    assert failure.message == reason


async def test_a_late_answer_is_nobodys(era: str) -> None:
    async with chaos(era) as here:
        late = [asyncio.create_task(here.call("late", seconds=0.4, timeout_s=0.2)) for _ in "123"]
        await echoes(here)
        for outcome in await asyncio.gather(*late, return_exceptions=True):
            assert isinstance(outcome, CallTimedOut)
        assert said(await here.call("late", seconds=0.5)) == "late"  # the three came before it
        await echoes(here)
        assert here.mcp.record("chaos").restarts == 0


async def test_of_two_answers_the_first_counts(era: str) -> None:
    async with chaos(era) as here:
        results, _ = await asyncio.gather(
            asyncio.gather(*(here.call("twice") for _ in range(AT_ONCE))), echoes(here)
        )
        assert Counter(map(said, results)) == {"first": AT_ONCE}
        await echoes(here)


async def test_answers_to_others_leave_only_their_own_call_without_one(era: str) -> None:
    async with chaos(era) as here:
        await echoes(here)
        foreign = [asyncio.create_task(here.call("foreign", timeout_s=1)) for _ in "123"]
        await echoes(here)
        for outcome in await asyncio.gather(*foreign, return_exceptions=True):
            assert isinstance(outcome, CallTimedOut)
        await echoes(here)
        assert here.mcp.record("chaos").restarts == 0


async def test_progress_reaches_its_own_caller_only(era: str) -> None:
    reports = 20

    async def one(here: Chaos, base: int) -> tuple[list[float], str]:
        heard: list[TaskProgress] = []
        result = await here.call(
            "progress", n=reports, base=base, pause_s=0.005, progress=heard.append
        )
        return [report.progress for report in heard], said(result)

    async with chaos(era) as here:
        bases = [1000 * number for number in range(AT_ONCE)]
        outcomes = await asyncio.gather(*(one(here, base) for base in bases))
    for base, (heard, answer) in zip(bases, outcomes, strict=True):
        assert answer == str(base)
        assert heard == [base + number for number in range(1, reports + 1)]


async def test_an_exit_interrupts_all_calls_under_way_at_once(era: str) -> None:
    async with chaos(era) as here:
        held = [asyncio.create_task(here.call("hold")) for _ in range(AT_ONCE)]
        await until(lambda: here.mcp.traffic()[NAME][0].in_flight == AT_ONCE)
        with pytest.raises(
            CallInterrupted, match="ended during the call: the process exited with code 7"
        ):
            await here.call("exit", code=7)
        async with asyncio.timeout(2):
            outcomes: list[Any] = await asyncio.gather(*held, return_exceptions=True)
        assert all(isinstance(outcome, CallInterrupted) for outcome in outcomes)
        await restarted(here, "the process exited with code 7")
        await echoes(here)


async def test_an_answer_that_is_too_long_fails_its_call_alone(era: str) -> None:
    async with chaos(era, Limits(line_bytes=50_000)) as here:
        assert len(said(await here.call("echo", text="x" * 40_000))) > 40_000
        with pytest.raises(PeerRefused, match="too large"):
            await here.call("echo", text="x" * 60_000)
        await echoes(here)
        assert here.mcp.record("chaos").restarts == 0


async def test_a_line_without_end_ends_its_server_with_that_reason(era: str) -> None:
    reason = "the server wrote a line of more than 50000 bytes"
    async with chaos(era, Limits(line_bytes=50_000)) as here:
        with pytest.raises(CallInterrupted, match=reason):
            await here.call("echo", text="x" * 200_000)
        await restarted(here, reason)
        await echoes(here)


async def test_it_exits_on_the_nth_call_and_serves_again(era: str) -> None:
    async with chaos(era) as here:
        assert [said(await here.call("exit_on", n=3)) for _ in "12"] == ["1", "2"]
        with pytest.raises(
            CallInterrupted, match="ended during the call: the process exited with code 4"
        ):
            await here.call("exit_on", n=3)
        await restarted(here, "the process exited with code 4")
        assert said(await here.call("exit_on", n=3)) == "1"
