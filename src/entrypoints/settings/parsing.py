"""From a text that someone gave to the value of a setting."""

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_origin

import msgspec

from entrypoints.settings.names import Variable
from entrypoints.settings.secret import Secret, SecretUrl

ASYNC_DRIVERS = {
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "sqlite": "sqlite+aiosqlite",
}


def value_of(variable: Variable, text: str, environ: Mapping[str, str]) -> Any:
    """The typed value.

    Raises:
        ValueError: The text is not what the variable must be; what the error says is not for show.
    """
    text, kinds = text.strip(), variable.kinds
    scheme, separator, rest = text.partition("://")
    if variable.schemes and not (separator and rest and scheme in variable.schemes):
        raise ValueError(variable.must)
    if variable.secret:
        if not (text and text.isascii() and text.isprintable() and " " not in text):
            raise ValueError(variable.must)
        if SecretUrl in kinds:
            return SecretUrl(ASYNC_DRIVERS.get(scheme, scheme) + separator + rest)
        return Secret(text)
    if Path in kinds:
        return path_of(text, environ)
    if any(get_origin(kind) is tuple for kind in kinds):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return msgspec.convert(text, variable.type, strict=False)


def path_of(text: str, environ: Mapping[str, str]) -> Path:
    """An absolute path; `~/` is the home folder, since no shell expands it in a file."""
    if text.startswith("~/") and environ.get("HOME"):
        text = environ["HOME"] + text.removeprefix("~")
    return Path(text).absolute()


def default_data_dir(environ: Mapping[str, str]) -> Path | None:
    """`$XDG_DATA_HOME/sutazai`, by default in `~/.local/share`; None without a home folder.

    A relative XDG_DATA_HOME is ignored (XDG Base Directory Specification).
    """
    named = environ.get("XDG_DATA_HOME", "")
    if named.startswith("/"):
        return Path(named) / "sutazai"
    home = environ.get("HOME", "")
    return Path(home) / ".local" / "share" / "sutazai" if home.startswith("/") else None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
