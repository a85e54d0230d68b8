"""`sutazai mcp`: the MCP servers of a system and their tools."""

import json
from typing import Any

from entrypoints.cli.arguments import tool_call
from entrypoints.cli.client import Client, segment
from entrypoints.cli.context import DONE, FAILED, Context, WrongUsage

SERVERS = "/api/v1/mcp/servers"
ANSWER_MARGIN_S = 10.0
# The system itself ends a call in time; this long after, it is the connection that hangs.


def list_servers(context: Context, client: Client) -> int:
    """Every server with its state."""
    answer = client.pages(SERVERS, "servers")
    if context.json:
        context.terminal.json(answer)
    else:
        columns = ("name", "state", "start", "origin", "restarts", "reason")
        rows = ([server.get(column) for column in columns] for server in answer["servers"])
        context.terminal.table([column.upper() for column in columns], rows)
    return DONE


def list_tools(context: Context, client: Client) -> int:
    """Every tool on offer."""
    answer = client.pages("/api/v1/mcp/tools", "tools", {"server": context.args.server})
    if context.json:
        context.terminal.json(answer)
    else:
        rows = ((tool["full_name"], tool.get("description")) for tool in answer["tools"])
        context.terminal.table(("TOOL", "DESCRIPTION"), rows)
    return DONE


def call(context: Context, client: Client) -> int:
    """Call a tool; a tool that reports failure is a failure here."""
    server, tool, arguments = tool_call(client, context.args.words)
    answer = client.ask(
        "POST",
        f"{SERVERS}/{segment(server)}/tools/{segment(tool)}",
        body=arguments,
        query={"timeout_s": context.args.timeout},
        timeout_s=(context.args.timeout or 60.0) + ANSWER_MARGIN_S,
    )
    if context.json:
        context.terminal.json(answer)
    else:
        for text in shown(answer):
            context.terminal.say(text)
    if answer["is_error"]:
        context.terminal.complain("error: the tool reports failure")
        return FAILED
    return DONE


def shown(answer: dict[str, Any]) -> list[str]:
    """A tool's answer as a person reads it: its texts, and a word for what is no text."""
    parts = [_part(block) for block in answer["content"]]
    if not parts and answer.get("structured_content") is not None:
        return [json.dumps(answer["structured_content"], ensure_ascii=False, indent=2)]
    return parts


def _part(block: dict[str, Any]) -> str:
    resource = block.get("resource", block)
    if isinstance(resource.get("text"), str):
        return str(resource["text"])
    about = resource.get("mimeType") or resource.get("uri") or ""
    return f"[{block.get('type', 'something')} {about}]".replace(" ]", "]")


def add(context: Context, client: Client) -> int:
    """Register a command; variables without a value are taken from this environment."""
    args = context.args
    if not args.words:
        raise WrongUsage("There is no command: sutazai mcp add NAME -- COMMAND ...")
    body = {
        "name": args.name,
        "command": args.words[0],
        "args": args.words[1:],
        "env": dict(_variable(context, word) for word in args.env),
        "cwd": args.cwd,
        "start": args.start,
    }
    given = {name: value for name, value in body.items() if value not in (None, {}, [])}
    answer = client.ask("POST", SERVERS, body=given)
    return _told(context, answer, f"Added {args.name}.")


def _variable(context: Context, word: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if equals:
        return name, value
    if name not in context.environ:
        raise WrongUsage(f"--env {name}: the environment has no such variable.")
    return name, context.environ[name]


def remove(context: Context, client: Client) -> int:
    """Take a server away."""
    answer = client.ask("DELETE", f"{SERVERS}/{segment(context.args.name)}")
    return _told(context, answer, f"Removed {context.args.name}.")


def steer(context: Context, client: Client) -> int:
    """Start, stop or restart a server; the command's own name is the act."""
    act, name = context.args.mcp_command, context.args.name
    answer = client.ask("POST", f"{SERVERS}/{segment(name)}/{act}")
    state = answer.get("state") if isinstance(answer, dict) else None
    return _told(context, answer, f"{name}: {state}." if state else f"{name}: {act} asked for.")


def _told(context: Context, answer: Any, sentence: str) -> int:
    if context.json:
        context.terminal.json(answer)
    else:
        context.terminal.say(sentence)
    return DONE
