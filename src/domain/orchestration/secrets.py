"""Keeping what a server was given in confidence out of what is told of it."""

from domain.model.servers import ServerSpec

MASK = "***"
SHORTEST = 6
# `1`, `true` or `info` are no secrets, and hiding them would make a reason unreadable.


def hidden(text: str, spec: ServerSpec) -> str:
    """The text without the values of the server's environment, which it may have repeated."""
    values = sorted(spec.recipe.env.values(), key=len, reverse=True)
    for value in values:
        if len(value) >= SHORTEST:
            text = text.replace(value, MASK)
    return text
