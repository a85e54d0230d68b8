"""The names by which tools of many servers are told apart."""

import hashlib
import re

MAX_FULL_NAME = 64
# OpenAI's function names and several MCP clients take no more.
_KEPT = 55
_OUTSIDE = re.compile(r"[^A-Za-z0-9_-]")


def full_name(server: str, tool: str) -> str:
    """`server__tool`, or the hashed form where that is too long or holds other characters.

    Two plain names never collide: a server's name holds no underscore, so the first `__` ends it.
    """
    plain = f"{server}__{tool}"
    safe = _OUTSIDE.sub("_", plain)
    return plain if safe == plain and len(plain) <= MAX_FULL_NAME else hashed_name(server, tool)


def hashed_name(server: str, tool: str) -> str:
    """The first 55 characters, `_`, and 8 hex digits of SHA-256 over server, NUL, tool."""
    digest = hashlib.sha256(f"{server}\0{tool}".encode()).hexdigest()
    return f"{_OUTSIDE.sub('_', f'{server}__{tool}')[:_KEPT]}_{digest[:8]}"
