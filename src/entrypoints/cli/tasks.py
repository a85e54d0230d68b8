"""`sutazai tasks`: durable work."""

from functools import partial
from typing import Any

from entrypoints.cli import timeline
from entrypoints.cli.arguments import tool_call
from entrypoints.cli.client import Client, segment
from entrypoints.cli.context import DONE, FAILED, Context, WrongUsage
from entrypoints.cli.follow import AWAY
from entrypoints.cli.mcp import shown
from entrypoints.cli.terminal import fields
from entrypoints.cli.watch import ending, watched

TASKS = "/api/v1/tasks"
FINISHED_BADLY = frozenset({"failed", "cancelled"})


def list_tasks(context: Context, client: Client) -> int:
    """The newest tasks."""
    query = {"status": context.args.status, "limit": context.args.limit}
    answer = client.ask("GET", TASKS, query=query)
    if context.json:
        context.terminal.json(answer)
    else:
        columns = ("task_id", "task_type", "status", "attempt", "created_at")
        rows = ([task.get(column) for column in columns] for task in answer["tasks"])
        context.terminal.table(("TASK", "TYPE", "STATUS", "ATTEMPT", "CREATED"), rows)
    return DONE


def show(context: Context, client: Client) -> int:
    """One task with its attempts and all that happened in it."""
    path = f"{TASKS}/{segment(context.args.task)}"
    task = client.ask("GET", path)
    events = client.pages(f"{path}/history", "events")["events"]
    if context.json:
        context.terminal.json({**task, "events": events})
        return DONE
    fields(context.terminal, task)
    if events:
        context.terminal.say()
        tried = ("ATTEMPT", "STARTED", "TOOK", "HOW IT WENT")
        context.terminal.table(tried, timeline.attempts(events))
        context.terminal.say()
        began = task.get("started_at") or task["created_at"]
        happened = ("ATTEMPT", "AFTER", "WHAT HAPPENED")
        context.terminal.table(happened, timeline.moments(events, began))
    return DONE


def submit_tool(context: Context, client: Client) -> int:
    """Submit a tool call."""
    server, tool, arguments = tool_call(client, context.args.words)
    payload: dict[str, Any] = {"server": server, "tool": tool, "arguments": arguments}
    if context.args.idempotent:
        payload["idempotent"] = True
    return _submit(context, client, "tool", payload)


def submit_agent(context: Context, client: Client) -> int:
    """Submit an agent's turn."""
    args = context.args
    payload = {"agent": args.agent, "message": args.message}
    if args.conversation is not None:
        payload["conversation_id"] = args.conversation
    return _submit(context, client, "agent", payload)


def _submit(context: Context, client: Client, task_type: str, payload: dict[str, Any]) -> int:
    args = context.args
    given = {
        name: value
        for name in ("priority", "run_at", "deadline_s", "max_attempts")
        if (value := getattr(args, name)) is not None
    }
    body = {"task_type": task_type, "payload": payload, **given}
    task = client.ask("POST", TASKS, body=body, headers=_key(args.key))
    if args.wait and not context.json:
        return _watched(context, client, task["task_id"])
    if args.wait:
        for _ in client.follow("GET", f"{TASKS}/{segment(task['task_id'])}/events"):
            pass
        task = client.ask("GET", f"{TASKS}/{segment(task['task_id'])}")
    if context.json:
        context.terminal.json(task)
    else:
        context.terminal.say(task["task_id"])
    return FAILED if task["status"] in FINISHED_BADLY else DONE


def _key(key: str | None) -> dict[str, str]:
    if key is None:
        return {}
    if not (key.isascii() and key.isprintable()):
        raise WrongUsage("--key is one line of visible ASCII text.")
    return {"idempotency-key": key}


def cancel(context: Context, client: Client) -> int:
    """Ask for a task's end."""
    return _told(context, client.ask("POST", f"{TASKS}/{segment(context.args.task)}/cancel"))


def watch(context: Context, client: Client) -> int:
    """Follow a task to its end."""
    if not context.json:
        return _watched(context, client, context.args.task)
    path = f"{TASKS}/{segment(context.args.task)}"
    client.ask("GET", path)  # where nothing answers at all, say so at once
    last = None
    away = partial(context.terminal.complain, AWAY)
    for last in client.follow("GET", f"{path}/events", away=away):
        context.terminal.json_line({"event": last.kind, **last.data})
    return DONE if last is not None and last.kind == "done" else FAILED


def _watched(context: Context, client: Client, task_id: str) -> int:
    task = watched(context.terminal, client, task_id)
    result = task.get("result")
    if isinstance(result, dict) and "content" in result:
        for text in shown(result):
            context.terminal.say(text)
    context.terminal.complain(ending(task))
    return DONE if task["status"] == "succeeded" else FAILED


def _told(context: Context, task: dict[str, Any]) -> int:
    if context.json:
        context.terminal.json(task)
    else:
        fields(context.terminal, task)
    return DONE
