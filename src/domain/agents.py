"""Agents: who they are, and whether they can work now."""

import re
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from typing import Any

import msgspec

from domain.errors import Invalid, NotFound
from domain.model.agents import (
    AGENT_ID_PATTERN,
    Agent,
    AgentId,
    AgentLimits,
    AgentStatus,
)
from domain.model.callers import Caller, Scope
from domain.model.keys import Once
from domain.once import acted_once
from domain.ports.models import LanguageModel
from domain.ports.storage import Transactions
from domain.ports.system import Clock

_SLUG = re.compile(AGENT_ID_PATTERN)
_NOT_SLUG = re.compile(r"[^a-z0-9]+")
_MOST_STEPS = 100


class ModelNotFound(NotFound):
    """No model has this name."""


class AgentInvalid(Invalid):
    """The agent's description holds a value that cannot be."""


class Models:
    """The language models of this system; the default one has a name as well."""

    def __init__(self, default: LanguageModel, named: Mapping[str, LanguageModel]) -> None:
        self.default = default
        self._named = {default.name: default, **named}

    def names(self) -> tuple[str, ...]:
        """Every name that may be asked for, the default first."""
        return tuple(self._named)

    def each(self) -> Mapping[str, LanguageModel]:
        """Every model once, under the first of its names; the default first."""
        first_names = {id(model): name for name, model in reversed(self._named.items())}
        return {name: each for name, each in self._named.items() if first_names[id(each)] == name}

    def first_name(self, name: str | None) -> str:
        """The first name of the model that is asked for; an unknown name as it is."""
        model = self.default if name is None else self._named.get(name)
        names = (first for first, each in self._named.items() if each is model)
        return next(names, name or "")

    def get(self, name: str | None) -> LanguageModel:
        """The model of this name, the default for None. Raises ModelNotFound."""
        if name is None:
            return self.default
        if name not in self._named:
            raise ModelNotFound(f"There is no model {name!r}.", model=name)
        return self._named[name]


class NewAgent(msgspec.Struct, frozen=True, kw_only=True):
    """An agent to be. Without an `agent_id` the slug of its name is taken."""

    name: str
    instructions: str
    agent_id: str | None = None
    model: str | None = None
    tools: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    limits: AgentLimits = AgentLimits()


class LimitsChange(msgspec.Struct, frozen=True, kw_only=True):
    """Limits that are to be others; UNSET stays as it is."""

    max_steps: int | msgspec.UnsetType = msgspec.UNSET
    turn_timeout: timedelta | msgspec.UnsetType = msgspec.UNSET

    def over(self, limits: AgentLimits) -> AgentLimits:
        """`limits` with what is given here in its place."""
        return msgspec.structs.replace(limits, **_given(self))


class AgentChange(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be another; UNSET stays as it is."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    instructions: str | msgspec.UnsetType = msgspec.UNSET
    model: str | msgspec.UnsetType | None = msgspec.UNSET
    tools: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    capabilities: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    limits: LimitsChange = LimitsChange()


def _given(change: msgspec.Struct) -> dict[str, Any]:
    fields = msgspec.structs.asdict(change).items()
    return {name: value for name, value in fields if value is not msgspec.UNSET}


class AgentView(msgspec.Struct, frozen=True, kw_only=True):
    """An agent with its status now; `reason` names what it lacks."""

    agent: Agent
    status: AgentStatus
    reason: str = ""


class AgentService:
    """Agents as callers see them. `offered` gives the full names of the tools that answer now."""

    def __init__(
        self,
        transactions: Transactions,
        models: Models,
        offered: Callable[[], Collection[str]],
        clock: Clock,
    ) -> None:
        self._transactions = transactions
        self._models = models
        self._offered = offered
        self._clock = clock

    async def list(
        self,
        caller: Caller,
        *,
        capability: str | None = None,
        status: AgentStatus | None = None,
    ) -> tuple[AgentView, ...]:
        """All agents by id, narrowed where asked."""
        caller.require(Scope.READ)
        async with self._transactions.read() as transaction:
            agents = await transaction.agents.list()
        offered = self._offered()
        views = (
            self._view(agent, offered)
            for agent in agents
            if capability is None or capability in agent.capabilities
        )
        return tuple(view for view in views if status is None or view.status is status)

    async def get(self, caller: Caller, agent_id: AgentId) -> AgentView:
        """Raises AgentNotFound."""
        caller.require(Scope.READ)
        async with self._transactions.read() as transaction:
            agent = await transaction.agents.get(agent_id)
        return self._view(agent, self._offered())

    async def create(self, caller: Caller, new: NewAgent, once: Once | None = None) -> AgentView:
        """Keep a new agent.

        Raises AgentExists, AgentInvalid, ModelNotFound, KeyReused, KeyInFlight.
        """
        caller.require(Scope.CHAT)
        agent_id = new.agent_id or _NOT_SLUG.sub("-", new.name.lower()).strip("-")[:64]
        if not _SLUG.match(agent_id):
            raise AgentInvalid(
                f"{agent_id!r} is no agent id: it matches {AGENT_ID_PATTERN}.", path="/agent_id"
            )
        now = self._clock.now()
        agent = Agent(
            agent_id=AgentId(agent_id),
            name=new.name,
            instructions=new.instructions,
            model=new.model,
            tools=new.tools,
            capabilities=new.capabilities,
            limits=new.limits,
            owner=caller.id,
            created_at=now,
            updated_at=now,
        )
        self._check(agent)
        async with self._transactions.begin() as transaction:

            async def add() -> AgentView:
                return self._view(await transaction.agents.add(agent), self._offered())

            view, _ = await acted_once(transaction, caller.id, once, AgentView, add)
        return view

    async def change(self, caller: Caller, agent_id: AgentId, change: AgentChange) -> AgentView:
        """Keep another version of it. Raises AgentNotFound, AgentInvalid, ModelNotFound."""
        caller.require(Scope.CHAT)
        async with self._transactions.begin() as transaction:
            agent = await transaction.agents.get(agent_id)
            changes = _given(change) | {"limits": change.limits.over(agent.limits)}
            agent = msgspec.structs.replace(agent, **changes)
            self._check(agent)
            agent = await transaction.agents.replace(agent)
        return self._view(agent, self._offered())

    async def remove(self, caller: Caller, agent_id: AgentId) -> None:
        """Raises AgentNotFound."""
        caller.require(Scope.CHAT)
        async with self._transactions.begin() as transaction:
            await transaction.agents.remove(agent_id)

    def _check(self, agent: Agent) -> None:
        self._models.get(agent.model)
        if not agent.name.strip():
            raise AgentInvalid("An agent needs a name.", path="/name")
        if not 1 <= agent.limits.max_steps <= _MOST_STEPS:
            raise AgentInvalid(f"max_steps is from 1 to {_MOST_STEPS}.", path="/limits/max_steps")
        if agent.limits.turn_timeout.total_seconds() <= 0:
            raise AgentInvalid("turn_timeout_s is above 0.", path="/limits/turn_timeout_s")

    def _view(self, agent: Agent, offered: Collection[str]) -> AgentView:
        lacking = self._lacking(agent, offered)
        if lacking:
            return AgentView(agent=agent, status=AgentStatus.UNAVAILABLE, reason=lacking)
        return AgentView(agent=agent, status=AgentStatus.ACTIVE)

    def _lacking(self, agent: Agent, offered: Collection[str]) -> str:
        if agent.model is not None and agent.model not in self._models.names():
            return f"there is no model {agent.model!r}"
        absent = [
            chosen
            for chosen in agent.tools
            if chosen != "*"
            and not any(
                name.startswith(chosen[:-1]) if chosen.endswith("*") else name == chosen
                for name in offered
            )
        ]
        return f"not on offer now: {', '.join(absent)}" if absent else ""
