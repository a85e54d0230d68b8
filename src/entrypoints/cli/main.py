"""The command `sutazai`: exit code 0 done, 1 refused or failed, 2 wrong usage."""

import os
import sys
from collections.abc import Mapping, Sequence

from domain.errors import Failure
from entrypoints.cli.context import FAILED, INTERRUPTED, WRONG_USAGE, Context, WrongUsage
from entrypoints.cli.parser import parser_of
from entrypoints.cli.terminal import Terminal
from entrypoints.settings.sources import SettingsRefused

ADD = ("mcp", "add")


def main() -> None:
    """Run the command that this process was started with."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a letter is no reason to fail.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    terminal = Terminal(sys.stdout, sys.stderr, sys.stdin)
    try:
        code = run(sys.argv[1:], dict(os.environ), terminal)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has enough; the interpreter must not try to flush the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    sys.exit(code)


def run(argv: Sequence[str], environ: Mapping[str, str], terminal: Terminal) -> int:
    """Carry out one command; wrong usage that the parser sees ends as SystemExit(2)."""
    words, after = list(argv), []
    if tuple(words[:2]) == ADD and "--" in words:
        # What follows belongs to the new server's command, further "--" included.
        place = words.index("--")
        words, after = words[:place], words[place + 1 :]
    args = parser_of().parse_args(words)
    if after:
        args.words = [*args.words, *after]
    try:
        code: int = args.run(Context(args, environ, terminal))
        return code
    except SettingsRefused as refused:
        for problem in refused.problems:
            terminal.complain(f"error: {problem}")
        return FAILED
    except WrongUsage as wrong:
        terminal.complain(f"error: {wrong.message}")
        return WRONG_USAGE
    except Failure as failure:
        terminal.complain(f"error: {failure.message}")
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
