"""How long things may take where nothing befalls the node that does them."""

from collections.abc import Mapping

from domain.model.tasks import Task
from tests.simulation.journal import Entry, Journal
from tests.simulation.troubles import Troubles, seconds

TURN_S = 20.0
# The limit of the agent's turns.
PROMISE_S = 3.0
# A cancelled task ends within this, as is published; so does one whose deadline passed, and the
# run of an attempt that another attempt took over from.
FAILURE_S = 2.1
# What one failure of the store may cost beyond: a heartbeat, or a slow way there and back.
CALL_S = 0.1
# What a call may take beyond its own time limit.


def check(journal: Journal, troubles: Troubles, rows: Mapping[str, list[Task]]) -> None:
    """Look at every cancel, deadline, call and overtaken run."""
    for tag, (task, *_) in rows.items():
        ended = next(iter(journal.all("ended", tag)), None)
        if ended is None:
            continue
        for kept in journal.all("cancel-kept", tag):
            if kept.data["status"] == "cancelled":
                continue
            late = _later(journal, troubles, tag, ended, kept.at)
            journal.require(late <= PROMISE_S, f"{tag} ended {late:.1f} s after its cancel")
        if task.deadline_at is not None and ended.at > seconds(task.deadline_at):
            late = _later(journal, troubles, tag, ended, seconds(task.deadline_at))
            journal.require(late <= PROMISE_S, f"{tag} ended {late:.1f} s after its deadline")
    for kept in journal.all("cancel-kept"):
        at_once = kept.data["status"] in {"running", "cancelled"}
        journal.require(at_once, f"{kept.about} was cancelled and is still {kept.data['status']}")
    _overtaken(journal, troubles)
    _calls(journal, troubles)


def _later(journal: Journal, troubles: Troubles, tag: str, ended: Entry, since: float) -> float:
    """Seconds that the last worker took, counted from when it could know and do it."""
    claims = [entry for entry in journal.all("claimed", tag) if entry.at <= ended.at]
    if not claims:
        return 0.0  # nobody held it: its end was the cancel itself
    begin = max(since, claims[-1].at)
    for given_up in journal.all("given-up", tag):
        # Until its lease had passed only a worker could end it that was gone.
        begin = max(begin, given_up.data["lease"])
    return _took(troubles, ended.node, begin, ended.at)


def _took(troubles: Troubles, node: str, since: float, until: float) -> float:
    """Seconds of a span that a node is to answer for."""
    begin = max(since, troubles.last(node, until))
    return until - begin - FAILURE_S * troubles.failures(node, begin, until)


def _overtaken(journal: Journal, troubles: Troubles) -> None:
    """A run whose attempt no longer counts is ended soon after its node can know."""
    for begun in journal.all("run-begun"):
        tag, attempt = begun.about, begun.data["attempt"]
        over = _after(begun, journal.all("run-over", tag))
        next_claim = next(
            (e for e in journal.all("claimed", tag) if e.data["attempt"] == attempt + 1), None
        )
        if over is None or next_claim is None or over.at <= next_claim.at:
            continue
        late = _took(troubles, begun.node, next_claim.at, over.at)
        journal.require(
            late <= PROMISE_S, f"{tag}: attempt {attempt} went on for {late:.1f} s beside the next"
        )


def _after(begun: Entry, entries: list[Entry]) -> Entry | None:
    return next(
        (
            entry
            for entry in entries
            if (entry.node, entry.data["attempt"]) == (begun.node, begun.data["attempt"])
        ),
        None,
    )


def _calls(journal: Journal, troubles: Troubles) -> None:
    for begun in journal.all("call-begun"):
        ends = [
            entry
            for what in ("call-answered", "call-failed", "call-left")
            for entry in journal.all(what, begun.about)
            if entry.node == begun.node and entry.at >= begun.at
        ]
        limit = begun.data["within"] + CALL_S
        if not ends:
            befell = troubles.between(begun.node, begun.at, float("inf"))
            journal.require(befell, f"the call {begun.about} has no end")
            continue
        took = min(entry.at for entry in ends) - begun.at
        excused = journal.has("call-told", begun.about) or troubles.between(
            begun.node, begun.at, begun.at + limit
        )
        journal.require(
            took <= limit or excused, f"the call {begun.about} took {took:.1f} s of {limit:.1f} s"
        )
