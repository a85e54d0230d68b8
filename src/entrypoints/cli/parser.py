"""Every command of `sutazai` with its arguments."""

import argparse
import sys
from importlib import import_module

from entrypoints.cli import local
from entrypoints.cli.context import Commands, Context, Options, Run

JSON: Options = {"json": {"action": "store_true", "help": "print JSON"}}
SETTINGS: Options = {
    "host": {"help": "address to listen on"},
    "port": {"help": "port to listen on"},
    "data_dir": {"metavar": "DIR", "help": "folder for what the system keeps"},
    "database_url": {"metavar": "URL", "help": "SQLite or PostgreSQL"},
    "mcp_config": {"metavar": "FILE", "help": "file that names MCP servers"},
    "env_file": {"metavar": "FILE", "help": "read settings from FILE"},
}
WORK: Options = {
    "concurrency": {
        "metavar": "N",
        "dest": "worker_concurrency",
        "help": "tasks to carry out at a time",
    },
    **{name: SETTINGS[name] for name in ("data_dir", "database_url", "mcp_config", "env_file")},
}
CLIENT: Options = {
    "url": {"help": "address of the system (or SUTAZAI_URL; http://127.0.0.1:10010)"},
    **JSON,
}
TERMS: Options = {
    "priority": {"type": int, "help": "higher first"},
    "deadline_s": {"type": float, "metavar": "S", "help": "seconds until it is given up"},
    "max_attempts": {"type": int, "metavar": "N", "help": "how often it may be tried"},
}
SUBMIT: Options = {
    **TERMS,
    "run_at": {"metavar": "TIME", "help": "not before this time (RFC 3339)"},
    "key": {"help": "your own name for it: submitted twice under it, it is kept once"},
    "wait": {"action": "store_true", "help": "follow it to its end"},
    **CLIENT,
}
SCHEDULE: Options = {
    "timezone": {"metavar": "ZONE", "help": "IANA name of a time zone (UTC)"},
    **TERMS,
    **CLIENT,
}
CALL = "SERVER__TOOL or SERVER TOOL, then one JSON object or key=value words"


class _Version(argparse.Action):
    """Like argparse's own, but the version is looked up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        version: str = import_module("importlib.metadata").version("sutazai")
        sys.stdout.write(f"sutazai {version}\n")
        parser.exit()


def parser_of() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="sutazai",
        description="A self-hosted AI backend: MCP servers, agents, chat and durable tasks.",
        epilog="Exit codes: 0 done, 1 refused or failed, 2 wrong usage. Commands ask the system at "
        "SUTAZAI_URL, with the key in SUTAZAI_API_KEY.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = Commands(parser)
    _local(commands)
    _mcp(commands.group("mcp", "MCP servers and their tools"))
    _agents(commands.group("agents", "agents"))
    _chat(commands)
    _tasks(commands.group("tasks", "durable work"))
    _schedules(commands.group("schedules", "work at the times of a cron expression"))
    _decisions(commands.group("decisions", "calls of which nobody knows whether they were made"))
    checking = commands.add(
        "check", "read every endpoint and judge the answers", _ask("check", "check"), CLIENT
    )
    checking.add_argument("--write", action="store_true", help="also make and remove own rows")
    return parser


def _local(commands: Commands) -> None:
    commands.add("serve", "run the system", local.serve, SETTINGS)
    commands.add("work", "carry out tasks of the system, without its API", local.work, WORK)
    commands.add("settings", "show the settings in force", local.settings, SETTINGS, JSON)
    database = commands.group("db", "the database's schema")
    database.add("upgrade", "bring it to the newest revision", local.upgrade, SETTINGS, JSON)
    database.add("current", "show its revision", local.current, SETTINGS, JSON)
    database.add("check", "fail if its tables are not this version's", local.check, SETTINGS, JSON)


def _mcp(mcp: Commands) -> None:
    mcp.add("list", "list servers", _ask("mcp", "list_servers"), CLIENT)
    tools = mcp.add("tools", "list tools", _ask("mcp", "list_tools"), CLIENT)
    tools.add_argument("--server", help="of this server only")
    call = mcp.add("call", "call a tool", _ask("mcp", "call"), CLIENT)
    call.add_argument("--timeout", type=float, metavar="S", help="seconds until it is given up")
    call.add_argument("words", nargs="+", metavar="WORD", help=CALL)
    add = mcp.add("add", "register a command: NAME -- COMMAND ...", _ask("mcp", "add"), CLIENT)
    add.add_argument("--env", action="append", default=[], metavar="NAME[=VALUE]")
    add.add_argument("--cwd", metavar="DIR", help="where the command runs")
    add.add_argument("--start", choices=("eager", "lazy", "disabled"))
    add.add_argument("name")
    add.add_argument("words", nargs="*", metavar="COMMAND", help="the command, after --")
    importing = mcp.add(
        "import", "register what a file names", _ask("imports", "import_file"), CLIENT
    )
    importing.add_argument("--dry-run", action="store_true", help="show what would be added")
    importing.add_argument("--name", help="call it so, where the file names one server")
    importing.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="what the file asks for: a variable, an argument or a header",
    )
    importing.add_argument("file", metavar="FILE", help="an .mcp.json or a server.json")
    for act, about in (
        ("start", "start a server"),
        ("stop", "stop a server"),
        ("restart", "stop and start a server"),
    ):
        mcp.add(act, about, _ask("mcp", "steer"), CLIENT).add_argument("name")
    mcp.add("remove", "take a server away", _ask("mcp", "remove"), CLIENT).add_argument("name")


def _agents(agents: Commands) -> None:
    agents.add("list", "list agents", _ask("agents", "list_agents"), CLIENT)
    agents.add("show", "show an agent", _ask("agents", "show"), CLIENT).add_argument("agent")


def _chat(commands: Commands) -> None:
    chat = commands.add("chat", "talk with an agent", _ask("chat", "chat"), CLIENT)
    chat.add_argument("--agent", help="whom to talk with (general-assistant)")
    chat.add_argument("--conversation", metavar="ID", help="go on with this conversation")
    chat.add_argument("--model", help="another model than the agent's")
    chat.add_argument("message", nargs="?", help="default: standard input, or a talk")


def _tasks(tasks: Commands) -> None:
    listing = tasks.add("list", "list the newest tasks", _ask("tasks", "list_tasks"), CLIENT)
    listing.add_argument("--status", help="only those")
    listing.add_argument("--limit", type=int, metavar="N", help="at most so many (50)")
    for act, about in (
        ("show", "show a task"),
        ("cancel", "ask for a task's end"),
        ("watch", "follow a task to its end"),
    ):
        tasks.add(act, about, _ask("tasks", act), CLIENT).add_argument("task")
    submit = tasks.group("submit", "submit work")
    tool = submit.add("tool", "submit a tool call", _ask("tasks", "submit_tool"), SUBMIT)
    tool.add_argument("--idempotent", action="store_true", help="a repeat does no harm")
    tool.add_argument("words", nargs="+", metavar="WORD", help=CALL)
    agent = submit.add("agent", "submit an agent's turn", _ask("tasks", "submit_agent"), SUBMIT)
    agent.add_argument("--conversation", metavar="ID", help="go on with this conversation")
    agent.add_argument("agent")
    agent.add_argument("message")


def _schedules(schedules: Commands) -> None:
    schedules.add("list", "list schedules", _ask("schedules", "list_schedules"), CLIENT)
    for act, about in (
        ("show", "show a schedule"),
        ("remove", "take a schedule away; its tasks stay"),
        ("pause", "let a schedule rest"),
        ("resume", "let a schedule fire again, from now on"),
    ):
        run = _ask("schedules", "steer" if act in {"pause", "resume"} else act)
        schedules.add(act, about, run, CLIENT).add_argument("schedule")
    add = schedules.group("add", "add a schedule")
    tool = add.add("tool", "schedule a tool call", _ask("schedules", "add_tool"), SCHEDULE)
    agent = add.add("agent", "schedule an agent's turn", _ask("schedules", "add_agent"), SCHEDULE)
    agent.add_argument("--conversation", metavar="ID", help="go on with this conversation")
    for parser in (tool, agent):
        parser.add_argument("name", help="what people call it")
        parser.add_argument("cron", help="five fields in quotes, such as '0 3 * * *'")
    tool.add_argument("words", nargs="+", metavar="WORD", help=CALL)
    agent.add_argument("agent")
    agent.add_argument("message")


def _decisions(decisions: Commands) -> None:
    listing = decisions.add(
        "list", "list what waits for an answer", _ask("decisions", "list_decisions"), CLIENT
    )
    listing.add_argument("--all", action="store_true", help="also what is decided")
    show = decisions.add("show", "show a question", _ask("decisions", "show"), CLIENT)
    decide = decisions.add(
        "decide", "say what becomes of the call", _ask("decisions", "decide"), CLIENT
    )
    for parser in (show, decide):
        parser.add_argument("decision")
    decide.add_argument("--text", help="with done: what the call answered")
    decide.add_argument(
        "word",
        choices=("repeat", "done", "fail"),
        help="make the call again, take it as made, or end the task",
    )


def _ask(module: str, function: str) -> Run:
    """A command that asks a system; the HTTP client is imported only when it runs."""

    def run(context: Context) -> int:
        client = import_module("entrypoints.cli.client")
        command = getattr(import_module(f"entrypoints.cli.{module}"), function)
        url = context.args.url or context.environ.get("SUTAZAI_URL") or client.DEFAULT_URL
        with client.Client(url, context.environ.get("SUTAZAI_API_KEY") or None) as asking:
            code: int = command(context, asking)
            return code

    return run
