"""What callers want of the system: tasks, messages, cancels, calls; and what they were told."""

from datetime import timedelta
from random import Random

from domain.chat import SendMessage
from domain.errors import Failure
from domain.model.agents import AgentId
from domain.model.callers import Caller, CallerId, Scope
from domain.model.conversations import ConversationId
from domain.model.tasks import AgentPayload, Payload, TaskId, ToolPayload
from domain.tasks.service import SubmitTask
from tests.simulation.journal import Journal
from tests.simulation.nodes import Life
from tests.simulation.servers import SERVERS, TOOLS

AGENT = AgentId("a")
CALLERS = tuple(
    Caller(id=CallerId(name), scopes=frozenset({Scope.READ, Scope.CHAT, Scope.TOOLS, Scope.TASKS}))
    for name in ("ann", "ben", "cem")
)


class Clients:
    """Draws requests and notes their outcomes; a request that a crash met has none."""

    def __init__(self, dice: Random, journal: Journal) -> None:
        self._dice = dice
        self._journal = journal
        self._count = 0
        self._asked: list[tuple[Caller, str, TaskId]] = []
        self._talks: list[tuple[Caller, ConversationId]] = []

    def _tag(self, letter: str) -> str:
        self._count += 1
        return f"{letter}{self._count}"

    async def submit(self, life: Life) -> None:
        """Submit a tool call or an agent's turn."""
        dice = self._dice
        tag = self._tag("t")
        wanted = SubmitTask(
            payload=self._payload(tag),
            priority=dice.choice((0, 0, 0, 1, -1)),
            delay=timedelta(seconds=dice.choice((0, 0, 0, 0.5, 5))),
            deadline=None if dice.random() < 0.7 else timedelta(seconds=dice.uniform(1, 20)),
            max_attempts=dice.choice((1, 2, 3, 3, 5)),
        )
        caller = dice.choice(CALLERS)
        self._journal.note("submit", tag)
        try:
            task = await life.tasks.submit(caller, wanted)
        except Failure as failure:
            self._journal.note("not-submitted", tag, why=type(failure).__name__)
            return
        self._journal.note("submitted", tag)
        self._asked.append((caller, tag, task.task_id))

    def _payload(self, tag: str) -> Payload:
        dice = self._dice
        if dice.random() < 0.4:
            return AgentPayload(agent=AGENT, message=tag, interactive=dice.random() < 0.1)
        tool = dice.choice(TOOLS)["name"]
        if dice.random() < 0.04:
            tool = "nothing"
        return ToolPayload(
            server=dice.choice(SERVERS),
            tool=tool,
            arguments={"key": tag},
            idempotent=dice.choice((None, None, None, True, False)),
        )

    async def chat(self, life: Life) -> None:
        """Say something, in a new conversation or in an old one."""
        dice = self._dice
        caller, talk = dice.choice(CALLERS), None
        if self._talks and dice.random() < 0.6:
            caller, talk = dice.choice(self._talks)
        tag = self._tag("c")
        self._journal.note("submit", tag)
        try:
            task = await life.chats.send(
                caller,
                SendMessage(
                    message=tag, agent=AGENT if talk is None else None, conversation_id=talk
                ),
            )
        except Failure as failure:
            self._journal.note("not-submitted", tag, why=type(failure).__name__)
            return
        self._journal.note("submitted", tag)
        self._asked.append((caller, tag, task.task_id))
        if talk is None and task.conversation_id is not None:
            self._talks.append((caller, task.conversation_id))

    async def cancel(self, life: Life) -> None:
        """Cancel one of the latest."""
        if not self._asked:
            return
        caller, tag, task_id = self._dice.choice(self._asked[-8:])
        self._journal.note("cancel", tag)
        try:
            await life.tasks.cancel(caller, task_id)
        except Failure as failure:
            self._journal.note("not-cancelled", tag, why=type(failure).__name__)
            return
        self._journal.note("cancel-taken", tag)

    async def call(self, life: Life) -> None:
        """Call a tool at once, with a time limit."""
        key = self._tag("d")
        server, tool = self._dice.choice(SERVERS), self._dice.choice(TOOLS)["name"]
        within = timedelta(seconds=self._dice.choice((0.3, 1, 4, 12)))
        try:
            await life.mcp.call_tool(
                self._dice.choice(CALLERS), server, tool, {"key": key}, timeout=within
            )
        except Failure:
            return  # the journal has it
