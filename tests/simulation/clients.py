"""What callers want of the system: tasks, messages, cancels, calls; and what they were told."""

from collections import Counter
from contextlib import suppress
from datetime import timedelta
from random import Random

import msgspec

from domain.chat import SendMessage
from domain.errors import Failure
from domain.model.agents import AgentId
from domain.model.callers import Caller, CallerId, Scope
from domain.model.conversations import ConversationId
from domain.model.decisions import DecisionClosed, Verdict
from domain.model.keys import IdempotencyKey, Once
from domain.model.schedules import ScheduledWork
from domain.model.tasks import AgentPayload, OnIndeterminate, Payload, TaskId, ToolPayload
from domain.ports.decisions import DecisionQuery
from domain.schedules import AddSchedule
from domain.tasks.decisions import Decide, GivenResult
from domain.tasks.service import SubmitTask
from tests.simulation.journal import Journal
from tests.simulation.life import Life
from tests.simulation.names import tag_of
from tests.simulation.servers import SERVERS, TOOLS

AGENT = AgentId("a")
CALLERS = tuple(
    Caller(id=CallerId(name), scopes=frozenset({Scope.READ, Scope.CHAT, Scope.TOOLS, Scope.TASKS}))
    for name in ("ann", "ben", "cem")
)


BURST = 12


class _Request(msgspec.Struct):
    """What a caller wants, under a key or not."""

    caller: Caller
    tag: str
    wanted: SubmitTask
    once: Once | None


class Clients:
    """Draws requests and notes their outcomes; a request that a crash met has none."""

    def __init__(self, dice: Random, journal: Journal) -> None:
        self._dice = dice
        self._journal = journal
        self._count = 0
        self._asked: list[tuple[Caller, str, TaskId]] = []
        self._talks: list[tuple[Caller, ConversationId]] = []
        self._keyed: list[_Request] = []
        self._keys: Counter[CallerId] = Counter()

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
            on_indeterminate=dice.choice((OnIndeterminate.FAIL, OnIndeterminate.ASK)),
        )
        request = _Request(dice.choice(CALLERS), tag, wanted, None)
        if dice.random() < 0.5:
            request.once = self._key(request.caller)
            self._keyed.append(request)
        self._journal.note("submit", tag)
        await self._submit(life, request)

    def _key(self, caller: Caller) -> Once:
        """A new one of the caller's, as others have them too: by counting."""
        self._keys[caller.id] += 1
        return Once(key=IdempotencyKey(f"k{self._keys[caller.id]}"), fingerprint="the same")

    async def _submit(self, life: Life, request: "_Request", **again: bool) -> None:
        tag, caller = request.tag, request.caller
        try:
            task = await life.tasks.submit(caller, request.wanted, request.once)
        except Failure as failure:
            self._journal.note("not-submitted", tag, why=type(failure).__name__, **again)
            return
        self._journal.note("submitted", tag)
        self._journal.require(tag_of(task) == tag, f"{tag} was answered with {tag_of(task)}")
        self._asked.append((caller, tag, task.task_id))

    async def again(self, life: Life) -> None:
        """Submit once more, as a client that did not hear the answer."""
        if self._keyed:
            await self._submit(life, self._dice.choice(self._keyed[-6:]), again=True)

    async def burst(self, life: Life) -> None:
        """One caller submits many tasks, and another one one."""
        first, second = self._dice.sample(CALLERS, 2)
        for caller in (*[first] * BURST, second):
            tag = self._tag("b")
            payload = ToolPayload(server=SERVERS[0], tool="look", arguments={"key": tag})
            self._journal.note("submit", tag)
            await self._submit(life, _Request(caller, tag, SubmitTask(payload=payload), None))

    async def schedule(self, life: Life) -> None:
        """Have something done again and again."""
        tag = self._tag("s")
        payload = ToolPayload(
            server=self._dice.choice(SERVERS), tool="look", arguments={"key": tag}
        )
        add = AddSchedule(
            name=tag, cron=self._dice.choice(("3", "5")), work=ScheduledWork(payload=payload)
        )
        with suppress(Failure):
            await life.schedules.create(self._dice.choice(CALLERS), add)

    async def decide(self, life: Life) -> None:
        """Decide something, perhaps what was decided before."""
        wanted = DecisionQuery(open=self._dice.choice((True, True, None)))
        await self._decide(life, self._dice.choice(CALLERS), wanted)

    async def decide_all(self, life: Life) -> None:
        """Decide all that waits."""
        for caller in CALLERS:
            while await self._decide(life, caller, DecisionQuery(open=True)):
                pass

    async def _decide(self, life: Life, caller: Caller, wanted: DecisionQuery) -> bool:
        """Say something about one of them; false where there is none."""
        with suppress(Failure):
            page = await life.decisions.list(caller, wanted)
            if not page.items:
                return False
            decision = self._dice.choice(page.items)
            verdict = self._dice.choice((Verdict.REPEAT, Verdict.DONE, Verdict.FAIL))
            text = {"type": "text", "text": str(decision.question.arguments["key"])}
            result = GivenResult(content=(text,)) if verdict is Verdict.DONE else None
            try:
                await life.decisions.decide(
                    caller, decision.decision_id, Decide(verdict=verdict, result=result)
                )
            except DecisionClosed:
                return True
        return True

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
