"""Agents kept in memory."""

import msgspec

from adapters.inmemory.state import Rows, own
from domain.model.agents import Agent, AgentExists, AgentId, AgentNotFound


class MemoryAgents:
    """The agents of one transaction."""

    def __init__(self, rows: Rows) -> None:
        self._agents = rows.state.agents
        self._clock = rows.clock

    async def add(self, agent: Agent) -> Agent:
        if agent.agent_id in self._agents:
            raise AgentExists(f"The agent {agent.agent_id!r} exists.", agent_id=agent.agent_id)
        now = self._clock.now()
        return self._keep(msgspec.structs.replace(agent, created_at=now, updated_at=now))

    async def replace(self, agent: Agent) -> Agent:
        kept = self._found(agent.agent_id)
        return self._keep(
            msgspec.structs.replace(agent, created_at=kept.created_at, updated_at=self._clock.now())
        )

    async def get(self, agent_id: AgentId) -> Agent:
        return own(self._found(agent_id))

    async def list(self) -> tuple[Agent, ...]:
        return tuple(own(self._agents[agent_id]) for agent_id in sorted(self._agents))

    async def remove(self, agent_id: AgentId) -> None:
        self._found(agent_id)
        del self._agents[agent_id]

    def _keep(self, agent: Agent) -> Agent:
        self._agents[agent.agent_id] = own(agent)
        return own(agent)

    def _found(self, agent_id: AgentId) -> Agent:
        agent = self._agents.get(agent_id)
        if agent is None:
            raise AgentNotFound(f"There is no agent {agent_id!r}.", agent_id=agent_id)
        return agent
