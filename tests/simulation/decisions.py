"""What must be true of decisions: asked once, decided once, and what was decided is done."""

from collections import Counter

from adapters.inmemory.state import State
from domain.model.decisions import Decision, Verdict
from domain.model.tasks import Task, TaskStatus
from tests.simulation.journal import Journal
from tests.simulation.names import tag_of


class DecisionRules:
    """Holds every commit to them."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def changed(self, before: Decision | None, after: Decision, state: State) -> None:
        """A commit made `after` of `before`."""
        tag, require = tag_of(state.tasks[after.task_id]), self._journal.require
        verdict = after.decision
        if before is None:
            self._journal.note("asked-about", tag, call=after.question.call_id)
        else:
            require(before.decision is None, f"{tag}: what was decided was decided again")
            assert verdict is not None
            self._journal.note("settled-by", tag, verdict=verdict.value, by=after.decided_by)

    def waits(self, task: Task, state: State) -> None:
        """A commit made the task wait."""
        number = sum(
            decision.task_id == task.task_id and decision.decision is None
            for decision in state.decisions.values()
        )
        self._journal.require(
            number == 1, f"{tag_of(task)} waits and {number} decisions about it are open"
        )

    def check(self, state: State) -> None:
        """All is over."""
        asked: Counter[tuple[str, str]] = Counter()
        for decision in state.decisions.values():
            task, call = state.tasks[decision.task_id], decision.question.call_id
            tag = tag_of(task)
            self._journal.require(
                decision.decision is not None, f"{tag} has ended and is still asked about"
            )
            ended = {TaskStatus.CANCELLED, TaskStatus.FAILED}
            self._journal.require(
                decision.decision is not Verdict.VOID or task.status in ended,
                f"{tag} has {task.status} without the decision that it waited for",
            )
            asked[tag, call] += 1 - (decision.decision is Verdict.REPEAT)
        for (tag, call), number in asked.items():
            self._journal.require(
                number <= 1, f"{tag} was asked about {call} again after that was decided"
            )


def repeats(state: State) -> Counter[str]:
    """How often a repeat of each call was decided on, by the call's key."""
    return Counter(
        str(decision.question.arguments.get("key"))
        for decision in state.decisions.values()
        if decision.decision is Verdict.REPEAT
    )
