"""What a store of agents promises."""

import msgspec
import pytest
from polyfactory.factories.msgspec_factory import MsgspecFactory

from domain.model.agents import Agent, AgentExists, AgentId, AgentLimits, AgentNotFound
from tests.contracts.storage import LEASE, Store

pytestmark = pytest.mark.anyio


class AgentFactory(MsgspecFactory[Agent]):
    __random_seed__ = 1
    limits = AgentLimits()


async def _add(store: Store, agent: Agent) -> Agent:
    async with store.transactions.begin() as transaction:
        return await transaction.agents.add(agent)


async def _get(store: Store, agent_id: AgentId) -> Agent:
    async with store.transactions.read() as transaction:
        return await transaction.agents.get(agent_id)


async def test_an_agent_comes_back_as_it_was_given_but_for_its_times(store: Store) -> None:
    for agent in AgentFactory.batch(5):
        kept = await _add(store, agent)
        assert await _get(store, agent.agent_id) == kept
        assert kept.created_at == kept.updated_at != agent.created_at
        times = {"created_at": agent.created_at, "updated_at": agent.updated_at}
        assert msgspec.structs.replace(kept, **times) == agent


async def test_times_are_in_utc(store: Store) -> None:
    kept = await _add(store, AgentFactory.build())
    offset = kept.created_at.utcoffset()
    assert offset is not None
    assert not offset


async def test_a_second_agent_of_the_same_id_is_refused(store: Store) -> None:
    agent = await _add(store, AgentFactory.build())
    with pytest.raises(AgentExists) as caught:
        await _add(store, msgspec.structs.replace(agent, name="Another"))
    assert caught.value.details == {"agent_id": agent.agent_id}
    assert await _get(store, agent.agent_id) == agent


async def test_a_caught_conflict_leaves_the_transaction_as_it_was(store: Store) -> None:
    first, second = AgentFactory.batch(2)
    async with store.transactions.begin() as transaction:
        await transaction.agents.add(first)
        with pytest.raises(AgentExists):
            await transaction.agents.add(first)
        await transaction.agents.add(second)
    assert (await _get(store, second.agent_id)).name == second.name


async def test_a_replaced_agent_keeps_its_creation_and_gets_a_new_update(store: Store) -> None:
    agent = await _add(store, AgentFactory.build(model=None))
    await store.advance(LEASE)
    changed = msgspec.structs.replace(
        AgentFactory.build(model="large", tools=("clock__*",)), agent_id=agent.agent_id
    )
    async with store.transactions.begin() as transaction:
        kept = await transaction.agents.replace(changed)
    assert kept == await _get(store, agent.agent_id)
    assert kept.created_at == agent.created_at
    assert kept.updated_at > agent.updated_at
    assert (kept.name, kept.model, kept.tools) == (changed.name, "large", ("clock__*",))


async def test_an_unknown_agent_is_not_found_by_any_method(store: Store) -> None:
    agent = AgentFactory.build()
    async with store.transactions.begin() as transaction:
        with pytest.raises(AgentNotFound):
            await transaction.agents.replace(agent)
        with pytest.raises(AgentNotFound):
            await transaction.agents.get(agent.agent_id)
        with pytest.raises(AgentNotFound):
            await transaction.agents.remove(agent.agent_id)


async def test_agents_are_listed_by_id(store: Store) -> None:
    for slug in ("b", "c", "a-1", "a"):
        await _add(store, AgentFactory.build(agent_id=slug))
    async with store.transactions.read() as transaction:
        listed = await transaction.agents.list()
    assert [agent.agent_id for agent in listed] == ["a", "a-1", "b", "c"]


async def test_a_removed_agent_is_gone_and_its_id_is_free(store: Store) -> None:
    agent = await _add(store, AgentFactory.build())
    async with store.transactions.begin() as transaction:
        await transaction.agents.remove(agent.agent_id)
    async with store.transactions.read() as transaction:
        assert await transaction.agents.list() == ()
    await _add(store, agent)
