"""`sutazai schedules`: work that becomes a task at every time that a cron expression names."""

from typing import Any

from entrypoints.cli.arguments import tool_call
from entrypoints.cli.client import Client, segment
from entrypoints.cli.context import DONE, Context
from entrypoints.cli.terminal import fields

SCHEDULES = "/api/v1/schedules"
OPTIONS = ("timezone", "priority", "deadline_s", "max_attempts")


def list_schedules(context: Context, client: Client) -> int:
    """Every schedule with its next time."""
    answer = client.pages(SCHEDULES, "schedules")
    if context.json:
        context.terminal.json(answer)
    else:
        columns = ("schedule_id", "name", "cron", "timezone", "next_at", "last_at", "last_error")
        rows = ([schedule.get(column) for column in columns] for schedule in answer["schedules"])
        titles = ("SCHEDULE", "NAME", "CRON", "TIMEZONE", "NEXT", "LAST", "LAST ERROR")
        context.terminal.table(titles, rows)
    return DONE


def show(context: Context, client: Client) -> int:
    """One schedule."""
    path = f"{SCHEDULES}/{segment(context.args.schedule)}"
    return _told(context, client.ask("GET", path))


def add_tool(context: Context, client: Client) -> int:
    """Schedule a tool call."""
    server, tool, arguments = tool_call(client, context.args.words)
    payload = {"server": server, "tool": tool, "arguments": arguments}
    return _add(context, client, "tool", payload)


def add_agent(context: Context, client: Client) -> int:
    """Schedule an agent's turn."""
    args = context.args
    payload = {"agent": args.agent, "message": args.message}
    if args.conversation is not None:
        payload["conversation_id"] = args.conversation
    return _add(context, client, "agent", payload)


def _add(context: Context, client: Client, task_type: str, payload: dict[str, Any]) -> int:
    args = context.args
    given = {name: value for name in OPTIONS if (value := getattr(args, name)) is not None}
    body = {"name": args.name, "cron": args.cron, "task_type": task_type, "payload": payload}
    return _told(context, client.ask("POST", SCHEDULES, body=body | given))


def remove(context: Context, client: Client) -> int:
    """Fire it no more."""
    name = context.args.schedule
    answer = client.ask("DELETE", f"{SCHEDULES}/{segment(name)}")
    if context.json:
        context.terminal.json(answer)
    else:
        context.terminal.say(f"Removed {name}.")
    return DONE


def steer(context: Context, client: Client) -> int:
    """Pause or resume a schedule; the command's own name is the act."""
    body = {"enabled": context.args.schedules_command == "resume"}
    path = f"{SCHEDULES}/{segment(context.args.schedule)}"
    return _told(context, client.ask("PATCH", path, body=body))


def _told(context: Context, schedule: dict[str, Any]) -> int:
    if context.json:
        context.terminal.json(schedule)
    else:
        fields(context.terminal, schedule)
    return DONE
