"""An agent: instructions, a model, a set of tools, limits."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import NewType

import msgspec

from domain.errors import Conflict, NotFound
from domain.model.callers import CallerId

AgentId = NewType("AgentId", str)
AGENT_ID_PATTERN = r"^[a-z0-9][a-z0-9-]{0,63}$(?!\n)"
# Python's `$` also matches before a last line break.


class AgentNotFound(NotFound):
    """No agent has this id."""


class AgentExists(Conflict):
    """Another agent has this id."""


class AgentLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one turn: model answers, and time from its first step to its last."""

    max_steps: int = 16
    turn_timeout: timedelta = timedelta(minutes=10)


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """`agent_id` is the unique slug of the name.

    `model` None means the system's default model. `tools` holds full names (`server__tool`),
    `server__*` for all of one server's tools, or `*` for every tool.
    """

    agent_id: AgentId
    name: str
    instructions: str
    model: str | None = None
    tools: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    limits: AgentLimits = AgentLimits()
    owner: CallerId
    created_at: datetime
    updated_at: datetime

    def may_use(self, full_name: str) -> bool:
        """Whether one of its `tools` selects the tool of this full name."""
        return any(
            full_name.startswith(chosen[:-1]) if chosen.endswith("*") else full_name == chosen
            for chosen in self.tools
        )


class AgentStatus(StrEnum):
    """ACTIVE: its model and all its tools are available now."""

    ACTIVE = "active"
    UNAVAILABLE = "unavailable"
