"""`sutazai chat`: talk with an agent."""

from typing import Any

from entrypoints.cli.client import Client
from entrypoints.cli.context import DONE, FAILED, Context, WrongUsage
from entrypoints.cli.follow import Follower

TURN_TIMEOUT_S = 3600.0
# An agent's own limits end a turn earlier.


def chat(context: Context, client: Client) -> int:
    """Send one message, or talk until the input ends."""
    message = context.args.message
    if message is None and context.terminal.interactive and not context.json:
        return _talk(context, client)
    if message is None:
        message = context.terminal.read_all()
    if not message.strip():
        raise WrongUsage("There is no message: give it as an argument or on standard input.")
    body = _body(context, message, context.args.conversation)
    if context.json:
        answer = client.ask("POST", "/api/v1/chat", body=body, timeout_s=TURN_TIMEOUT_S)
        context.terminal.json(answer)
        return DONE
    return DONE if _say(context, client, body) else FAILED


def _talk(context: Context, client: Client) -> int:
    conversation = context.args.conversation
    while (message := context.terminal.ask("> ")) is not None:
        if message.strip():
            body = _body(context, message, conversation)
            conversation = _say(context, client, body) or conversation
    context.terminal.say()
    return DONE


def _body(context: Context, message: str, conversation: str | None) -> dict[str, Any]:
    """A conversation knows its agent already."""
    body = {
        "message": message,
        "agent": context.args.agent,
        "conversation_id": conversation,
        "model": context.args.model,
    }
    return {name: value for name, value in body.items() if value is not None}


def _say(context: Context, client: Client, body: dict[str, Any]) -> str | None:
    """Send a message and show the answer; the conversation's id, None where there is no answer."""
    follower = Follower(context.terminal, chat=True)
    try:
        last = follower.show_all(client.follow("POST", "/api/v1/chat/stream", body, follower.away))
    except KeyboardInterrupt:
        if follower.task_id:
            context.terminal.complain(
                f"\nThe answer goes on: `sutazai tasks watch {follower.task_id}` shows it, "
                f"`sutazai tasks cancel {follower.task_id}` ends it."
            )
        raise
    if last is None or last.kind != "done":
        return None
    return str(last.data["result"]["conversation_id"])
