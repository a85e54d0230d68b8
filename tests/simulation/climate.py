"""How hard one run is: its size, what goes wrong in it and how often; all drawn by the seed."""

from collections.abc import Mapping
from random import Random

import msgspec

from domain.model.tasks import Lane, model_lane, server_lane
from domain.ports.tasks import UNCAPPED


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """How much there is of everything. Seconds are virtual."""

    nodes: int = 4
    tasks: int = 26
    chats: int = 8
    cancels: int = 8
    calls: int = 6
    crashes: int = 3
    freezes: int = 5
    drains: int = 2
    outages: int = 2
    server_troubles: int = 3
    bursts: int = 1
    agains: int = 6
    schedules: int = 1
    decides: int = 8
    trouble_s: float = 28.0
    settle_s: float = 240.0


USUAL = Size()
BIG = Size(
    nodes=100,
    tasks=10_000,
    chats=100,
    cancels=200,
    calls=100,
    crashes=10,
    freezes=10,
    drains=5,
    outages=4,
    server_troubles=10,
    bursts=20,
    agains=200,
    schedules=10,
    decides=100,
    trouble_s=100.0,
    settle_s=600.0,
)
# As many crashes as a tenth of the nodes, and as many freezes.


class Climate(msgspec.Struct, frozen=True, kw_only=True):
    """Chances, each of one act: of a message to the model, of a call, of a commit, of a hint."""

    model_fails: float
    model_breaks: float
    model_refuses: float
    model_slow: float
    model_hangs: float
    model_calls: float
    call_errors: float
    call_refused: float
    call_kills: float
    call_slow: float
    call_hangs: float
    strikes: float
    boot_fails: float
    answers_lost: float
    refused: float
    hints_lost: float
    wrong_clock_s: float


CALM = Climate(
    model_fails=0,
    model_breaks=0,
    model_refuses=0,
    model_slow=0,
    model_hangs=0,
    model_calls=0.3,
    call_errors=0,
    call_refused=0,
    call_kills=0,
    call_slow=0,
    call_hangs=0,
    strikes=0,
    boot_fails=0,
    answers_lost=0,
    refused=0,
    hints_lost=0,
    wrong_clock_s=0,
)


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """How the workers of a run are set."""

    concurrency: int
    caps: Mapping[Lane, int]


def setting(dice: Random) -> Setting:
    """One of a run."""
    narrow = {server_lane("files"): 2, model_lane("m"): 2}
    return Setting(
        concurrency=dice.choice((6, 6, 2)), caps=dice.choice((UNCAPPED, UNCAPPED, narrow))
    )


def climate(dice: Random) -> Climate:
    """One of a run: every kind of trouble is absent in some runs and frequent in others."""

    def up_to(most: float) -> float:
        return most * max(0.0, dice.uniform(-0.3, 1))

    return Climate(
        model_fails=up_to(0.15),
        model_breaks=up_to(0.1),
        model_refuses=up_to(0.03),
        model_slow=up_to(0.2),
        model_hangs=up_to(0.06),
        model_calls=0.4 + up_to(0.5),
        call_errors=up_to(0.1),
        call_refused=up_to(0.06),
        call_kills=up_to(0.08),
        call_slow=up_to(0.3),
        call_hangs=up_to(0.15),
        strikes=up_to(0.05),
        boot_fails=up_to(0.3),
        answers_lost=up_to(0.03),
        refused=up_to(0.03),
        hints_lost=dice.choice((0.0, 0.3, 1.0, 1.0)),
        wrong_clock_s=3600.0,
    )
