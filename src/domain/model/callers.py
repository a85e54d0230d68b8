"""Who acts, and what they may do."""

from enum import StrEnum
from typing import NewType

import msgspec

from domain.errors import Forbidden

CallerId = NewType("CallerId", str)


class Scope(StrEnum):
    """One right. Registering a command is ADMIN: it runs code."""

    READ = "read"
    CHAT = "chat"
    TOOLS = "tools"
    TASKS = "tasks"
    ADMIN = "admin"


class ScopeMissing(Forbidden):
    """The caller lacks the scope that an act needs."""


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """The one who asks; made at each entry point and kept on every row it causes.

    `session` names what the caller is about, empty where that is one thing: what a server keeps
    for one session it keeps from the caller's others.
    """

    id: CallerId
    scopes: frozenset[Scope]
    session: str = ""

    def require(self, scope: Scope) -> None:
        """Pass in silence, or raise ScopeMissing. ADMIN includes every other scope."""
        if scope not in self.scopes and Scope.ADMIN not in self.scopes:
            raise ScopeMissing(f"This needs the scope {scope.value!r}.", scope=scope.value)

    def sees(self, owner: CallerId) -> bool:
        """Whether rows of `owner` are this caller's business."""
        return owner == self.id or Scope.ADMIN in self.scopes


LOCAL = Caller(id=CallerId("local"), scopes=frozenset(Scope))
# The system is open to this machine only: whoever reaches it is its user.
