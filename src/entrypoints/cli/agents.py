"""`sutazai agents`: the agents of a system."""

from entrypoints.cli.client import Client, segment
from entrypoints.cli.context import DONE, Context
from entrypoints.cli.terminal import fields

AGENTS = "/api/v1/agents"


def list_agents(context: Context, client: Client) -> int:
    """Every agent with its status."""
    answer = client.pages(AGENTS, "agents")
    if context.json:
        context.terminal.json(answer)
    else:
        columns = ("agent_id", "status", "model", "tools", "reason")
        rows = ([agent.get(column) for column in columns] for agent in answer["agents"])
        context.terminal.table(("AGENT", "STATUS", "MODEL", "TOOLS", "REASON"), rows)
    return DONE


def show(context: Context, client: Client) -> int:
    """One agent."""
    answer = client.ask("GET", f"{AGENTS}/{segment(context.args.agent)}")
    if context.json:
        context.terminal.json(answer)
    else:
        fields(context.terminal, answer)
    return DONE
