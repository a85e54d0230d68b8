"""Agents as rows."""

from typing import Any

import msgspec
from sqlalchemy import Row, bindparam, delete, insert, select, update

from adapters.sql.dialect import Now
from adapters.sql.statements import Statements
from adapters.sql.tables import agents
from domain.model.agents import Agent, AgentExists, AgentId, AgentNotFound

_THIS = agents.c.agent_id == bindparam("this")
ADD = insert(agents).values(created_at=Now(), updated_at=Now()).returning(*agents.c)
REPLACE = update(agents).where(_THIS).values(updated_at=Now()).returning(*agents.c)
GET = select(agents).where(_THIS)
LIST = select(agents).order_by(agents.c.agent_id)
REMOVE = delete(agents).where(_THIS).returning(agents.c.agent_id)
_KEPT = tuple(name for name in Agent.__struct_fields__ if not name.endswith("_at"))


class SqlAgents:
    """The agents of one transaction."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def add(self, agent: Agent) -> Agent:
        exists = AgentExists(f"The agent {agent.agent_id!r} exists.", agent_id=agent.agent_id)
        rows = await self._statements.rows(ADD, _values(agent), {"pk_agents": exists})
        return _agent(rows[0])

    async def replace(self, agent: Agent) -> Agent:
        values = {"this": agent.agent_id, **_values(agent)}
        return _found(await self._statements.first(REPLACE, values), agent.agent_id)

    async def get(self, agent_id: AgentId) -> Agent:
        return _found(await self._statements.first(GET, {"this": agent_id}), agent_id)

    async def list(self) -> tuple[Agent, ...]:
        return tuple(_agent(row) for row in await self._statements.rows(LIST))

    async def remove(self, agent_id: AgentId) -> None:
        if await self._statements.first(REMOVE, {"this": agent_id}) is None:
            raise _unknown(agent_id)


def _values(agent: Agent) -> dict[str, Any]:
    return {name: getattr(agent, name) for name in _KEPT}


def _agent(row: Row[Any]) -> Agent:
    return msgspec.convert(row, Agent, from_attributes=True)


def _found(row: Row[Any] | None, agent_id: AgentId) -> Agent:
    if row is None:
        raise _unknown(agent_id)
    return _agent(row)


def _unknown(agent_id: AgentId) -> AgentNotFound:
    return AgentNotFound(f"There is no agent {agent_id!r}.", agent_id=agent_id)
