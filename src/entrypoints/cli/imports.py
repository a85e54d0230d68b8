"""`sutazai mcp import`: register the servers that a file names."""

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from domain.errors import Failure
from domain.model.containers import Container
from domain.model.servers import SERVER_NAME_PATTERN, Remote, ServerRecipe, ServerSpec
from domain.orchestration.secrets import masked
from entrypoints.cli.client import Client
from entrypoints.cli.context import DONE, FAILED, Context, WrongUsage
from entrypoints.mcp_config import EntryProblem, read_config
from entrypoints.server_json import Undescribed, is_server_json, read_server_json
from entrypoints.settings.secret import MASK, SecretUrl

SERVERS = "/api/v1/mcp/servers"
SECRET_NAME = re.compile(r"key|token|secret|passw|auth|credential", re.IGNORECASE)


class Candidate(NamedTuple):
    """A server to be added. `shown` is its recipe without what is secret."""

    name: str
    recipe: ServerRecipe
    shown: ServerRecipe
    start: str | None = None


class Found(NamedTuple):
    """What a file names."""

    candidates: tuple[Candidate, ...]
    warnings: tuple[str, ...]
    problems: tuple[EntryProblem, ...]


def import_file(context: Context, client: Client) -> int:
    """Show every server of the file and add it; one that cannot be added fails the command."""
    args = context.args
    given = dict(_given(context, word) for word in args.env)
    found = _read(Path(args.file), given, context.environ)
    if args.name is not None:
        found = _renamed(found, args.name)
    problems, servers = list(found.problems), []
    for warning in found.warnings:
        context.terminal.complain(f"warning: {warning}")
    for candidate in found.candidates:
        server = {"name": candidate.name, **_shown(candidate)}
        if not context.json:
            _say(context, server)
        try:
            state = None if args.dry_run else _add(client, candidate)
        except Failure as refused:
            problems.append(EntryProblem(candidate.name, refused.message))
        else:
            servers.append({**server, "state": state})
            if not context.json and state is not None:
                context.terminal.say(f"  added: {state}")
    _conclude(context, servers, found.warnings, problems)
    return FAILED if problems else DONE


def _conclude(
    context: Context,
    servers: list[dict[str, Any]],
    warnings: tuple[str, ...],
    problems: list[EntryProblem],
) -> None:
    if context.json:
        context.terminal.json(
            {
                "dry_run": context.args.dry_run,
                "servers": servers,
                "warnings": warnings,
                "problems": [problem._asdict() for problem in problems],
            }
        )
        return
    for problem in problems:
        context.terminal.complain(f"error: {problem.name}: {problem.reason}")
    verb = "would be added" if context.args.dry_run else "added"
    context.terminal.say(f"{len(servers)} {verb}, {len(problems)} cannot be.")


def _given(context: Context, word: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not equals and name not in context.environ:
        raise WrongUsage(f"--env {name}: the environment has no such variable.")
    return name, value if equals else context.environ[name]


def _read(path: Path, given: Mapping[str, str], environ: Mapping[str, str]) -> Found:
    if not is_server_json(path):
        return _of_config(path, {**environ, **given})
    described = read_server_json(path, given)
    if isinstance(described, Undescribed):
        reasons = (EntryProblem(described.title, reason) for reason in described.reasons)
        return Found((), (), tuple(reasons))
    candidate = Candidate(described.name, described.recipe, described.shown)
    return Found((candidate,), (f"{described.title!r} is called {described.name!r} here.",), ())


def _of_config(path: Path, environ: Mapping[str, str]) -> Found:
    discreet = {
        name: MASK if value and SECRET_NAME.search(name) else value
        for name, value in environ.items()
    }
    config, shown = read_config(path, environ), read_config(path, discreet)
    candidates = tuple(
        Candidate(real.name, real.recipe, told.recipe, real.start.value)
        for real, told in zip(config.servers, shown.servers, strict=True)
    )
    lost = (_lost(spec) for spec in config.servers)
    return Found(candidates, (*config.warnings, *(text for text in lost if text)), config.problems)


def _lost(spec: ServerSpec) -> str:
    """What a registration over HTTP cannot carry."""
    plain = ServerSpec(name=spec.name, recipe=spec.recipe, owner=spec.owner)
    if (spec.start_timeout, spec.probe_timeout) == (plain.start_timeout, plain.probe_timeout):
        return ""
    return f"The time-outs of {spec.name!r} stay behind: the system's own hold."


def _renamed(found: Found, name: str) -> Found:
    if not re.match(SERVER_NAME_PATTERN, name):
        raise WrongUsage(f"--name {name}: small letters, digits and hyphens, at most 32.")
    if len(found.candidates) != 1:
        raise WrongUsage(f"--name is for one server; {len(found.candidates)} could be added.")
    candidate = found.candidates[0]
    old, new = (f"is called {text!r} here" for text in (candidate.name, name))
    return Found(
        (candidate._replace(name=name),),
        tuple(warning.replace(old, new) for warning in found.warnings),
        found.problems,
    )


def _parts(recipe: ServerRecipe) -> dict[str, Any]:
    """A recipe in the words of a registration."""
    if isinstance(recipe, Remote):
        return {"url": recipe.url, "headers": dict(recipe.headers)}
    if isinstance(recipe, Container):
        args = list(recipe.command)
        return {"image": recipe.image, "args": args, "env": dict(recipe.env)}
    return {
        "command": recipe.command,
        "args": list(recipe.args),
        "env": dict(recipe.env),
        "cwd": recipe.cwd,
    }


def _shown(candidate: Candidate) -> dict[str, Any]:
    """The recipe as it may be told, whole: what will run is not shortened."""
    parts = {**_parts(candidate.shown), "start": candidate.start}
    for key in {"env", "headers"} & parts.keys():
        parts[key] = dict.fromkeys(parts[key], MASK)
    if "url" in parts:
        return {**parts, "url": SecretUrl(parts["url"]).masked}
    return {**parts, "args": list(masked(tuple(parts["args"])))}


def _say(context: Context, server: Mapping[str, Any]) -> None:
    context.terminal.say(server["name"])
    for line in _lines(server):
        context.terminal.say(f"  {line}")


def _lines(server: Mapping[str, Any]) -> Iterator[str]:
    if "url" in server:
        yield server["url"]
    else:
        yield shlex.join([server.get("command") or server["image"], *server["args"]])
    for key in ("env", "headers"):
        if server.get(key):
            yield f"{key}: {', '.join(server[key])}"
    for key in ("cwd", "start"):
        if server.get(key):
            yield f"{key}: {server[key]}"


def _add(client: Client, candidate: Candidate) -> str:
    """The state of the new server. Raises Refused, NoAnswer."""
    body = {"name": candidate.name, **_parts(candidate.recipe), "start": candidate.start}
    given = {name: value for name, value in body.items() if value not in (None, {}, [])}
    answer = client.ask("POST", SERVERS, body=given)
    return str(answer.get("state")) if isinstance(answer, dict) else "unknown"
