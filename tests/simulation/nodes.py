"""One node: started, crashed, frozen, drained."""

from collections.abc import Callable, Coroutine
from contextvars import Context
from random import Random
from typing import Any

from tests.simulation.life import Life, Surroundings
from tests.simulation.store import Line


class Machine:
    """A place for one node after the other, under one name."""

    def __init__(self, name: str, world: Surroundings, dice: Random, wrong_by_s: float) -> None:
        self.name = name
        self.world = world
        self.dice = dice
        self.wrong_by_s = wrong_by_s
        self.line = Line(Random(dice.getrandbits(60)))  # noqa: S311 - repeatable
        self.life: Life | None = None

    def start(self) -> None:
        """Begin the next life."""
        self._befell("start")
        self.life = life = Life(self)
        self._on(life, life.start)

    def crash(self) -> None:
        """As `kill -9`; its servers live a moment longer, as under their guards."""
        life = self.life
        if life is None:
            return
        self._befell("crash")
        life.node.crash()
        self.world.loop.call_later(self.dice.uniform(0, 0.5), life.launcher.crash)
        self.life = None

    def freeze(self) -> None:
        """As SIGSTOP; its servers go on."""
        if self.life is not None:
            self._befell("freeze")
            self.life.node.freeze()

    def thaw(self) -> None:
        """As SIGCONT."""
        if self.life is not None and self.life.node.frozen:
            self._befell("thaw")
            self.life.node.thaw()

    def drain(self) -> None:
        """As SIGTERM, and the next life after it."""
        life = self.life
        if life is not None and life.up:
            self._befell("drain")
            self._on(life, self._drained, life)

    async def _drained(self, life: Life) -> None:
        await life.stop()
        self.world.journal.note("drained")
        self.world.loop.call_soon(self._again, life, context=Context())

    def _again(self, life: Life) -> None:
        if self.life is life:
            self.life = None
            self.start()

    def ask(self, request: Callable[[Life], Coroutine[Any, Any, None]]) -> bool:
        """Carry out a client's request here, unless nobody would answer."""
        life = self.life
        if life is None or not life.ready:
            return False
        self._on(life, request, life)
        return True

    def _on(self, life: Life, act: Callable[..., Coroutine[Any, Any, None]], *args: object) -> None:
        self.world.loop.create_task(act(*args), context=life.node.context.copy())

    def _befell(self, what: str) -> None:
        self.world.troubles.befell(self.name)
        self.world.journal.note(what, self.name)
