"""Three hundred runs of a small cluster in trouble, and the tool that finds what went wrong."""

import asyncio
import os
import subprocess
import sys

import pytest

from tests.simulation import __main__ as tool
from tests.simulation.hunt import FAULTS, hunt
from tests.simulation.loop import Node, NothingHappens, SimulatedLoop
from tests.simulation.world import run

SEEDS = 300


@pytest.mark.timeout(300)
def test_every_run_keeps_every_rule(capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main(["--seeds", str(SEEDS), "--once"]) == 0, capsys.readouterr().out


def test_a_run_is_the_same_whatever_the_order_of_hashes() -> None:
    code = "from tests.simulation.world import run; print([run(seed).digest for seed in range(3)])"
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hashseed},
            check=True,
            capture_output=True,
        ).stdout
        for hashseed in ("1", "2")
    }
    assert len(told) == 1


def test_runs_of_other_seeds_are_others() -> None:
    assert len({run(seed).digest for seed in range(3)}) == 3


@pytest.mark.parametrize(
    "fault", ["uncounted-reclaim", "turn-from-its-start", "answer-to-another-caller"]
)
def test_a_deliberate_fault_is_found(fault: str) -> None:
    assert hunt(FAULTS[fault]).report is not None


def test_time_jumps_and_a_node_that_crashed_or_froze_does_nothing() -> None:
    heard: list[tuple[str, int]] = []

    async def tick(name: str) -> None:
        try:
            while True:
                await asyncio.sleep(1)
                heard.append((name, round(asyncio.get_running_loop().time())))
        finally:
            heard.append((name, -1))

    async def world() -> None:
        crashed, frozen = Node("crashed"), Node("frozen")
        loop = asyncio.get_running_loop()
        ticking = [
            loop.create_task(tick(node.name), context=node.context.copy())
            for node in (crashed, frozen)
        ]
        await asyncio.sleep(1.5)
        crashed.crash()
        frozen.freeze()
        await asyncio.sleep(1000)
        assert heard == [("crashed", 1), ("frozen", 1)]
        frozen.thaw()
        await asyncio.sleep(1.5)
        assert not any(task.done() for task in ticking)
        assert heard[2:] == [("frozen", 1002), ("frozen", 1003)]

    loop = SimulatedLoop()
    loop.run_until_complete(world())
    loop.bury()


def test_a_hang_of_everything_is_seen() -> None:
    loop = SimulatedLoop()
    with pytest.raises(NothingHappens):
        loop.run_until_complete(asyncio.Event().wait())
    loop.bury()
