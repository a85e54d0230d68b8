"""Keeping what a server was given in confidence out of what is told of it."""

from domain.model.servers import Command, ServerSpec

MASK = "***"
SHORTEST = 6
# `1`, `true` or `info` are no secrets, and hiding them would make a reason unreadable.


def hidden(text: str, spec: ServerSpec) -> str:
    """The text without the values of the server's environment or headers, repeated or not."""
    given = spec.recipe.env if isinstance(spec.recipe, Command) else spec.recipe.headers
    for value in sorted(given.values(), key=len, reverse=True):
        if len(value) >= SHORTEST:
            text = text.replace(value, MASK)
    return text
