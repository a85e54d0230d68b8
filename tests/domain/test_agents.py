"""Agents: who may be one, what changes, and whether they can work now."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from adapters.inmemory.model import ScriptedLanguageModel
from adapters.inmemory.system import ManualClock
from adapters.inmemory.transactions import MemoryTransactions
from domain.agents import (
    AgentChange,
    AgentInvalid,
    AgentService,
    LimitsChange,
    ModelNotFound,
    Models,
    NewAgent,
)
from domain.model.agents import AgentExists, AgentId, AgentLimits, AgentNotFound, AgentStatus
from domain.model.callers import LOCAL, Caller, CallerId, Scope, ScopeMissing

pytestmark = pytest.mark.anyio

A = AgentId("a")
READER = Caller(id=CallerId("reader"), scopes=frozenset({Scope.READ}))
OFFERED = {"s__one", "s__two", "other__x"}


class Room:
    """Agents over the in-memory store; `offered` is what servers offer now."""

    def __init__(self) -> None:
        self.offered = set(OFFERED)
        self.clock = ManualClock()
        models = Models(ScriptedLanguageModel([]), {"big": ScriptedLanguageModel([], "big-1")})
        store = MemoryTransactions(self.clock)
        self.agents = AgentService(store, models, lambda: self.offered, self.clock)

    async def create(self, **more: Any) -> None:
        values: dict[str, Any] = {"agent_id": A, "name": "A", "instructions": "Obey."}
        await self.agents.create(LOCAL, NewAgent(**(values | more)))


@pytest.fixture
def room() -> Room:
    return Room()


@pytest.mark.parametrize(
    ("name", "agent_id"),
    [
        ("Code Helper", "code-helper"),
        ("  Ünï -- code!  ", "n-code"),
        ("x" * 80, "x" * 64),
        ("7 up", "7-up"),
    ],
)
async def test_an_id_is_made_of_the_name(room: Room, name: str, agent_id: str) -> None:
    made = await room.agents.create(LOCAL, NewAgent(name=name, instructions=""))

    assert made.agent.agent_id == agent_id


@pytest.mark.parametrize("agent_id", ["", "A", "a_b", "-a", "a" * 65, "a b", "a\n", "ä", "a/b"])
async def test_another_id_is_refused(room: Room, agent_id: str) -> None:
    with pytest.raises(AgentInvalid):
        await room.create(agent_id=agent_id, name="!")


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "  "},
        {"limits": AgentLimits(max_steps=0)},
        {"limits": AgentLimits(max_steps=101)},
        {"limits": AgentLimits(turn_timeout=timedelta())},
    ],
)
async def test_values_that_cannot_be_are_refused_new_or_changed(
    room: Room, wrong: dict[str, Any]
) -> None:
    with pytest.raises(AgentInvalid):
        await room.create(**wrong)
    await room.create()
    if "limits" in wrong:
        limits = wrong["limits"]
        change = LimitsChange(max_steps=limits.max_steps, turn_timeout=limits.turn_timeout)
        wrong = {"limits": change}
    before = await room.agents.get(LOCAL, A)
    with pytest.raises(AgentInvalid):
        await room.agents.change(LOCAL, A, AgentChange(**wrong))
    assert await room.agents.get(LOCAL, A) == before


async def test_an_unknown_model_is_refused(room: Room) -> None:
    with pytest.raises(ModelNotFound):
        await room.create(model="none")
    await room.create(model="big")
    with pytest.raises(ModelNotFound):
        await room.agents.change(LOCAL, A, AgentChange(model="none"))
    changed = await room.agents.change(LOCAL, A, AgentChange(model=None))
    assert changed.agent.model is None


async def test_an_id_is_given_once(room: Room) -> None:
    await room.create()
    with pytest.raises(AgentExists):
        await room.create()


async def test_a_change_leaves_the_rest_as_it_is(room: Room) -> None:
    await room.create(tools=("*",), limits=AgentLimits(max_steps=3))
    before = (await room.agents.get(LOCAL, A)).agent
    room.clock.advance(timedelta(seconds=5))

    limits = LimitsChange(turn_timeout=timedelta(seconds=9))
    after = (await room.agents.change(LOCAL, A, AgentChange(name="B", limits=limits))).agent

    assert (after.name, after.instructions, after.tools) == ("B", "Obey.", ("*",))
    assert after.limits == AgentLimits(max_steps=3, turn_timeout=timedelta(seconds=9))
    assert after.created_at == before.created_at
    assert after.updated_at == before.updated_at + timedelta(seconds=5)


async def test_changes_at_the_same_time_are_all_kept(room: Room) -> None:
    await room.create()
    steps = LimitsChange(max_steps=7)
    time = LimitsChange(turn_timeout=timedelta(seconds=7))

    await asyncio.gather(
        room.agents.change(LOCAL, A, AgentChange(limits=steps)),
        room.agents.change(LOCAL, A, AgentChange(limits=time)),
        room.agents.change(LOCAL, A, AgentChange(name="B")),
    )

    agent = (await room.agents.get(LOCAL, A)).agent
    assert agent.name == "B"
    assert agent.limits == AgentLimits(max_steps=7, turn_timeout=timedelta(seconds=7))


@pytest.mark.parametrize(
    ("tools", "lacking"),
    [
        ((), ""),
        (("*",), ""),
        (("s__*", "other__x"), ""),
        (("s__three",), "s__three"),
        (("gone__*", "s__one"), "gone__*"),
    ],
)
async def test_an_agent_is_active_while_all_its_tools_are_on_offer(
    room: Room, tools: tuple[str, ...], lacking: str
) -> None:
    await room.create(tools=tools)

    view = await room.agents.get(LOCAL, A)

    assert view.status is (AgentStatus.UNAVAILABLE if lacking else AgentStatus.ACTIVE)
    assert lacking in view.reason


async def test_a_status_is_of_this_moment(room: Room) -> None:
    await room.create(tools=("s__one",))
    room.offered.clear()
    assert (await room.agents.get(LOCAL, A)).status is AgentStatus.UNAVAILABLE
    assert not await room.agents.list(LOCAL, status=AgentStatus.ACTIVE)
    room.offered.add("s__one")
    assert len(await room.agents.list(LOCAL, status=AgentStatus.ACTIVE)) == 1


async def test_lists_are_narrowed_by_capability(room: Room) -> None:
    await room.create(capabilities=("code", "dream"))
    await room.create(agent_id=AgentId("b"))

    found = await room.agents.list(LOCAL, capability="dream")

    assert [view.agent.agent_id for view in found] == [A]


async def test_an_unknown_agent_is_not_found(room: Room) -> None:
    for act in (
        room.agents.get(LOCAL, A),
        room.agents.change(LOCAL, A, AgentChange(name="B")),
        room.agents.remove(LOCAL, A),
    ):
        with pytest.raises(AgentNotFound):
            await act


async def test_who_may_only_read_changes_nothing(room: Room) -> None:
    await room.create()
    for act in (
        room.agents.create(READER, NewAgent(name="B", instructions="")),
        room.agents.change(READER, A, AgentChange(name="B")),
        room.agents.remove(READER, A),
    ):
        with pytest.raises(ScopeMissing):
            await act
    assert (await room.agents.get(READER, A)).agent.name == "A"
