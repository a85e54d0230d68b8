"""`sutazai decisions`: what becomes of a call of which nobody knows whether it was made."""

from typing import Any

from entrypoints.cli.client import Client, segment
from entrypoints.cli.context import DONE, Context
from entrypoints.cli.terminal import fields

DECISIONS = "/api/v1/decisions"


def list_decisions(context: Context, client: Client) -> int:
    """The questions that wait for an answer, or all that were ever asked."""
    query = {} if context.args.all else {"status": "open"}
    answer = client.pages(DECISIONS, "decisions", query)
    if context.json:
        context.terminal.json(answer)
    else:
        titles = ("DECISION", "TASK", "CALL", "ASKED", "DECIDED", "WHY")
        context.terminal.table(titles, map(_row, answer["decisions"]))
    return DONE


def _row(decision: dict[str, Any]) -> list[Any]:
    question = decision["question"]
    call = "/".join(part for part in (question["server"], question["tool"]) if part)
    made = decision.get("decision")
    return [
        *(decision[name] for name in ("decision_id", "task_id")),
        call,
        decision["created_at"],
        made,
        question["reason"],
    ]


def show(context: Context, client: Client) -> int:
    """One question, with the arguments of its call."""
    path = f"{DECISIONS}/{segment(context.args.decision)}"
    return _told(context, client.ask("GET", path))


def decide(context: Context, client: Client) -> int:
    """Answer it; the task goes on at once, or ends."""
    args = context.args
    body: dict[str, Any] = {"decision": args.word}
    if args.text is not None:
        body["result"] = {"content": [{"type": "text", "text": args.text}]}
    path = f"{DECISIONS}/{segment(args.decision)}"
    return _told(context, client.ask("POST", path, body=body))


def _told(context: Context, decision: dict[str, Any]) -> int:
    if context.json:
        context.terminal.json(decision)
    else:
        fields(context.terminal, decision)
    return DONE
