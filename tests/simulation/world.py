"""One run: a cluster, its callers and its troubles, until everything has settled."""

import asyncio
import gc
from collections.abc import Callable
from contextlib import nullcontext
from contextvars import Context
from datetime import timedelta
from random import Random
from typing import Any

import msgspec

from domain.model.agents import Agent, AgentLimits
from tests.simulation import bounds, climate, invariants
from tests.simulation.clients import AGENT, CALLERS, Clients
from tests.simulation.climate import CALM, USUAL, Size
from tests.simulation.faults.fault import Fault
from tests.simulation.journal import Journal
from tests.simulation.life import DRAIN
from tests.simulation.logs import Logs
from tests.simulation.loop import SimulatedLoop, SimulatedTask
from tests.simulation.models import SimulatedModel
from tests.simulation.nodes import Machine
from tests.simulation.rules import Rules
from tests.simulation.schedules import NEVER, Ticks
from tests.simulation.servers import SERVERS, Outside, ToolServer
from tests.simulation.signals import Air
from tests.simulation.store import Rack
from tests.simulation.troubles import Troubles, TrueClock

STOP_S = 10.0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """How a run went. `digest` is of its whole trace; `broken` the rules that were not kept."""

    seed: int
    digest: str
    broken: tuple[str, ...]
    trace: tuple[str, ...]
    lasted_s: float


class World:
    """All that a run consists of."""

    def __init__(self, seed: int, size: Size, loop: SimulatedLoop, journal: Journal) -> None:
        def dice(name: str) -> Random:
            return Random(f"{seed}/{name}")  # noqa: S311 - it is meant to be repeatable

        self.loop = loop
        self.journal = journal
        self.size = size
        self.dice = dice("events")
        self.troubles = Troubles()
        weather = climate.climate(dice("climate"))
        clock = TrueClock(loop)
        self.setting = climate.setting(dice("setting"))
        self.ticks = Ticks(size.trouble_s)
        rules = Rules(journal, self.troubles, self.setting.caps, self.ticks)
        self.rack = Rack(loop, clock, journal, rules)
        self.outside = Outside(dice("outside"), weather, journal)
        self.air = Air(dice("air"), weather.hints_lost)
        eras = dice("eras")
        self.programs = {
            str(name): ToolServer(name, eras.choice(("modern", "legacy")), self.outside)
            for name in SERVERS
        }
        self.model = SimulatedModel(self.outside)
        self.clients = Clients(dice("clients"), journal)
        wrong = dice("clocks")
        self.machines = [
            Machine(
                f"n{number}",
                self,
                dice(f"n{number}"),
                wrong.choice((0.0, wrong.uniform(-1, 1) * weather.wrong_clock_s)),
            )
            for number in range(size.nodes)
        ]
        self.outside.strike = self._strike
        for machine in self.machines:
            self._worsen(machine)

    def _worsen(self, machine: Machine) -> None:
        machine.line.refuses = self.outside.climate.refused
        machine.line.forgets = self.outside.climate.answers_lost

    async def run(self) -> None:
        """From the first start to the last stop."""
        agent = Agent(
            agent_id=AGENT,
            name="A",
            instructions="",
            tools=("*",),
            limits=AgentLimits(max_steps=6, turn_timeout=timedelta(seconds=bounds.TURN_S)),
            owner=CALLERS[0].id,
            created_at=TrueClock(self.loop).now(),
            updated_at=TrueClock(self.loop).now(),
        )
        with self.rack.write() as transaction:
            await transaction.agents.add(agent)
        for machine in self.machines:
            machine.start()
        self._plan()
        await asyncio.sleep(self.size.trouble_s)
        self._calm_down()
        await self._settled()
        await self._stopped()

    def _plan(self) -> None:
        size, dice, clients = self.size, self.dice, self.clients
        plan: list[tuple[int, Callable[[], object]]] = [
            (size.tasks, lambda: self._any().ask(clients.submit)),
            (size.chats, lambda: self._any().ask(clients.chat)),
            (size.cancels, lambda: self._any().ask(clients.cancel)),
            (size.calls, lambda: self._any().ask(clients.call)),
            (size.bursts, lambda: self._any().ask(clients.burst)),
            (size.agains, lambda: self._any().ask(clients.again)),
            (size.decides, lambda: self._any().ask(clients.decide)),
            (size.schedules, lambda: self._any().ask(clients.schedule)),
            (size.crashes, self._crash),
            (size.drains, lambda: self._any().drain()),
            (size.outages, self._outage),
            (size.server_troubles, self._hurt_server),
        ]
        for times, act in plan:
            for _ in range(times):
                self.loop.call_at(dice.uniform(0.3, size.trouble_s), act)
        for _ in range(size.freezes):
            # Early, so that a lease passes meanwhile and what is thawed still meets trouble.
            self.loop.call_at(dice.uniform(0.3, size.trouble_s / 2), self._freeze)

    def _any(self) -> Machine:
        return self.dice.choice(self.machines)

    def _busy(self) -> Machine:
        """One that has work in hand, where there is one: there a fault shows."""
        busy = [m for m in self.machines if m.life is not None and m.life.worker.held]
        return self.dice.choice(busy or self.machines)

    def _strike(self, name: str) -> None:
        """Crash or freeze a node within moments."""
        machine = next(machine for machine in self.machines if machine.name == name)
        soon, blow = self.dice.uniform(0, 0.02), self.dice.choice((self._crash, self._freeze))
        self.loop.call_later(soon, blow, machine, context=Context())

    def _crash(self, machine: Machine | None = None) -> None:
        machine = machine or self._busy()
        machine.crash()
        self.loop.call_later(self.dice.uniform(0.1, 15), self._up, machine)

    def _up(self, machine: Machine) -> None:
        if machine.life is None:
            machine.start()

    def _freeze(self, machine: Machine | None = None) -> None:
        machine = machine or self._busy()
        machine.freeze()
        self.loop.call_later(self.dice.choice((2, 12, 12, 18)), machine.thaw)

    def _outage(self) -> None:
        """The store is away, for one node or for all."""
        hit = self.machines if self.dice.random() < 0.3 else [self._any()]
        refuses, slow_s = self.dice.choice(((1.0, 0.0), (0.4, 0.0), (0.0, 1.0)))
        self.journal.note("outage", ",".join(m.name for m in hit), refuses=refuses, slow_s=slow_s)
        for machine in hit:
            machine.line.refuses, machine.line.slow_s = refuses, slow_s
            machine.line.forgets = refuses / 2
            self.loop.call_later(self.dice.uniform(0.5, 7), self._mend, machine)

    def _mend(self, machine: Machine) -> None:
        machine.line.slow_s = 0.0
        self._worsen(machine)

    def _hurt_server(self) -> None:
        life = self._any().life
        children = [] if life is None else [c for c in life.launcher.children if c.running]
        if not children:
            return
        child = self.dice.choice(children)
        if self.dice.random() < 0.6:
            self.journal.note("server-killed", child.process.name)
            child.kill()
            return
        self.journal.note("server-frozen", child.process.name)
        child.process.freeze()
        self.loop.call_later(self.dice.choice((1, 6, 40)), child.process.thaw)

    def _calm_down(self) -> None:
        self.journal.note("calm")
        self.outside.climate = CALM
        self.outside.calm.set()
        for machine in self.machines:
            self._mend(machine)
            machine.thaw()
            self._up(machine)

    async def _settled(self) -> None:
        deadline = self.loop.time() + self.size.settle_s
        while self.loop.time() < deadline:
            await asyncio.sleep(1)
            self._any().ask(self.clients.decide_all)
            fired = all(each.next_at == NEVER for each in self.rack.state.schedules.values())
            quiet = all(self._is_quiet(machine) for machine in self.machines)
            if quiet and fired and not self.rack.state.unfinished:
                self.journal.note("settled")
                invariants.check_servers(self.journal, self.machines)
                return
        invariants.unsettled(self.journal, self.rack, self.machines)

    @staticmethod
    def _is_quiet(machine: Machine) -> bool:
        life = machine.life
        return life is not None and life.up and not life.worker.held

    async def _stopped(self) -> None:
        """All nodes end as on SIGTERM; on return nothing of them may be left."""
        lives = [machine.life for machine in self.machines if machine.life is not None]
        stopping = {
            self.loop.create_task(life.stop(), context=life.node.context.copy()) for life in lives
        }
        _, late = await asyncio.wait(stopping, timeout=STOP_S + DRAIN.total_seconds())
        self.journal.require(not late, f"{len(late)} nodes did not stop within {STOP_S:g} s")
        await asyncio.sleep(0.1)
        for task in asyncio.all_tasks():
            node = task.node if isinstance(task, SimulatedTask) else None
            if node is not None and not node.dead:
                self.journal.broke(f"a coroutine was left over: {task.get_name()}")


def run(seed: int, size: Size = USUAL, fault: Fault | None = None) -> Report:
    """One run, from its seed alone; with a fault in the rules where one is given."""
    loop = SimulatedLoop()
    journal = Journal()
    loop.set_exception_handler(lambda _loop, context: journal.broken.append(_unhandled(context)))
    gc.disable()
    try:
        with Logs(journal), nullcontext() if fault is None else fault.made():
            asyncio.set_event_loop(loop)
            try:
                loop.run_until_complete(_observed(World(seed, size, loop, journal)))
            except Exception as error:  # noqa: BLE001 - whatever it is, its trace must be seen
                journal.broken.append(f"the run itself broke: {error!r}")
        return Report(
            seed=seed,
            digest=journal.digest(),
            broken=tuple(journal.broken),
            trace=tuple(map(str, journal.entries)),
            lasted_s=loop.time(),
        )
    finally:
        asyncio.set_event_loop(None)
        loop.bury()
        gc.enable()


def _unhandled(context: dict[str, Any]) -> str:
    """What nobody caught, be it of the system or of the simulation itself."""
    return f"{context.get('message')}: {context.get('exception')!r}"


async def _observed(world: World) -> None:
    await world.run()
    invariants.check(world.journal, world.rack, world.troubles)
