"""Agents over HTTP."""

from datetime import datetime, timedelta
from typing import Annotated

import msgspec
from litestar import Router, delete, get, patch, post
from litestar.params import FromQuery, JSONBody
from litestar.types import Scope

from domain.agents import AgentChange, AgentService, AgentView, LimitsChange, NewAgent
from domain.model.agents import AGENT_ID_PATTERN, AgentId, AgentLimits, AgentStatus
from entrypoints.http.keys import ONCE, Key
from entrypoints.http.pages import cut
from entrypoints.http.requests import Cursor, Id, Limit, Service, caller_of

DAY_S = 86400
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Instructions = Annotated[str, msgspec.Meta(max_length=100_000)]
Words = Annotated[
    tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=200)], ...],
    msgspec.Meta(max_length=500),
]
Steps = Annotated[int, msgspec.Meta(ge=1, le=100)]
TurnTimeout = Annotated[float, msgspec.Meta(gt=0, le=DAY_S)]


class LimitsBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of one turn."""

    max_steps: Steps | msgspec.UnsetType = msgspec.UNSET
    turn_timeout_s: TurnTimeout | msgspec.UnsetType = msgspec.UNSET

    def change(self) -> LimitsChange:
        """The same in the domain's words."""
        seconds = self.turn_timeout_s
        return LimitsChange(
            max_steps=self.max_steps,
            turn_timeout=msgspec.UNSET if seconds is msgspec.UNSET else timedelta(seconds=seconds),
        )


class NewAgentBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An agent to be; without `agent_id` the slug of its name is taken."""

    name: Name
    instructions: Instructions
    agent_id: Annotated[str, msgspec.Meta(pattern=AGENT_ID_PATTERN)] | None = None
    model: str | None = None
    tools: Words = ()
    capabilities: Words = ()
    limits: LimitsBody = LimitsBody()


class AgentChangeBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be another; what is absent stays as it is."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    instructions: Instructions | msgspec.UnsetType = msgspec.UNSET
    model: str | msgspec.UnsetType | None = msgspec.UNSET
    tools: Words | msgspec.UnsetType = msgspec.UNSET
    capabilities: Words | msgspec.UnsetType = msgspec.UNSET
    limits: LimitsBody = LimitsBody()


class LimitsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one turn."""

    max_steps: int
    turn_timeout_s: float


class AgentAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An agent with its status now; `reason` names what it lacks."""

    agent_id: str
    name: str
    instructions: str
    model: str | None
    tools: tuple[str, ...]
    capabilities: tuple[str, ...]
    limits: LimitsAnswer
    status: AgentStatus
    reason: str
    owner: str
    created_at: datetime
    updated_at: datetime


class AgentList(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the agents by id; the counts are of all that were asked for."""

    agents: tuple[AgentAnswer, ...]
    active_count: int
    total_count: int
    next_cursor: str | None


def _answer(view: AgentView) -> AgentAnswer:
    agent = view.agent
    return AgentAnswer(
        agent_id=agent.agent_id,
        name=agent.name,
        instructions=agent.instructions,
        model=agent.model,
        tools=agent.tools,
        capabilities=agent.capabilities,
        limits=LimitsAnswer(
            max_steps=agent.limits.max_steps,
            turn_timeout_s=agent.limits.turn_timeout.total_seconds(),
        ),
        status=view.status,
        reason=view.reason,
        owner=agent.owner,
        created_at=agent.created_at,
        updated_at=agent.updated_at,
    )


@get(["/", "/list"])
async def list_agents(  # noqa: PLR0913, PLR0917 - one argument a query parameter
    agents: Service[AgentService],
    scope: Scope,
    capability: FromQuery[str | None] = None,
    status: FromQuery[AgentStatus | None] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> AgentList:
    """Agents by id."""
    views = await agents.list(caller_of(scope), capability=capability, status=status)
    page = cut(tuple(map(_answer, views)), lambda agent: agent.agent_id, limit, cursor)
    return AgentList(
        agents=page.items,
        active_count=sum(view.status is AgentStatus.ACTIVE for view in views),
        total_count=page.total_count,
        next_cursor=page.next_cursor,
    )


@post("/", dependencies=ONCE)
async def create_agent(
    agents: Service[AgentService], scope: Scope, data: JSONBody[NewAgentBody], once: Key
) -> AgentAnswer:
    """Keep a new agent."""
    new = NewAgent(
        name=data.name,
        instructions=data.instructions,
        agent_id=data.agent_id,
        model=data.model,
        tools=data.tools,
        capabilities=data.capabilities,
        limits=data.limits.change().over(AgentLimits()),
    )
    return _answer(await agents.create(caller_of(scope), new, once))


@get("/{agent_id:str}")
async def get_agent(agents: Service[AgentService], scope: Scope, agent_id: Id) -> AgentAnswer:
    """One agent."""
    return _answer(await agents.get(caller_of(scope), AgentId(agent_id)))


@patch("/{agent_id:str}")
async def change_agent(
    agents: Service[AgentService],
    scope: Scope,
    agent_id: Id,
    data: JSONBody[AgentChangeBody],
) -> AgentAnswer:
    """Keep another version of an agent."""
    change = AgentChange(
        name=data.name,
        instructions=data.instructions,
        model=data.model,
        tools=data.tools,
        capabilities=data.capabilities,
        limits=data.limits.change(),
    )
    return _answer(await agents.change(caller_of(scope), AgentId(agent_id), change))


@delete("/{agent_id:str}")
async def remove_agent(agents: Service[AgentService], scope: Scope, agent_id: Id) -> None:
    """Take an agent away."""
    await agents.remove(caller_of(scope), AgentId(agent_id))


ROUTES = Router(
    "/agents",
    route_handlers=[list_agents, create_agent, get_agent, change_agent, remove_agent],
    tags=["agents"],
)
