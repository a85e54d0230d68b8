"""Keeping what a server was given in confidence out of what is told of it."""

import re

import msgspec

from domain.model.servers import Command, Remote, ServerRecipe, ServerRecord, ServerSpec

MASK = "***"
SECRET_OPTION = re.compile(
    r"^(--?[\w-]*(?:key|token|secret|password|passwd|auth)[\w-]*)(=.*)?$", re.IGNORECASE
)
URL_PASSWORD = re.compile(r"(://[^/\s:@]*:)[^/\s@]+@")
SHORTEST = 6
# `1`, `true` or `info` are no secrets, and hiding them would make a reason unreadable.


def hidden(text: str, spec: ServerSpec) -> str:
    """The text without the values of the server's environment or headers, repeated or not."""
    recipe = spec.recipe
    given = recipe.headers if isinstance(recipe, Remote) else recipe.env
    for value in sorted(given.values(), key=len, reverse=True):
        if len(value) >= SHORTEST:
            text = text.replace(value, MASK)
    return text


def masked(args: tuple[str, ...]) -> tuple[str, ...]:
    """Arguments without what is surely a secret: values of such options, passwords in URLs."""
    shown: list[str] = []
    hide_next = False
    for arg in args:
        option = SECRET_OPTION.match(arg)
        if hide_next and not arg.startswith("-"):
            shown.append(MASK)
        elif option is not None and option[2] is not None:
            shown.append(f"{option[1]}={MASK}")
        else:
            shown.append(URL_PASSWORD.sub(rf"\1{MASK}@", arg))
        hide_next = option is not None and option[2] is None
    return tuple(shown)


def told(record: ServerRecord) -> ServerRecord:
    """The record as it may be kept or shown: what was given in confidence is masked."""
    spec = msgspec.structs.replace(record.spec, recipe=_masked_recipe(record.spec.recipe))
    return msgspec.structs.replace(record, spec=spec)


def _masked_recipe(recipe: ServerRecipe) -> ServerRecipe:
    if isinstance(recipe, Remote):
        (url,), headers = masked((recipe.url,)), dict.fromkeys(recipe.headers, MASK)
        return msgspec.structs.replace(recipe, url=url, headers=headers)
    env = dict.fromkeys(recipe.env, MASK)
    if isinstance(recipe, Command):
        return msgspec.structs.replace(recipe, args=masked(recipe.args), env=env)
    return msgspec.structs.replace(recipe, command=masked(recipe.command), env=env)
