"""A server as the official MCP registry describes it: a `server.json`."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from domain.model.servers import Command, Remote, ServerName
from entrypoints.mcp_config import LONGEST_NAME, ConfigRefused
from entrypoints.settings.secret import MASK

SPECIFIC = re.compile(r"(?!.*(?:^|\.)[xX](?:\.|$))\d[0-9A-Za-z.+!-]*")
# The format forbids ranges and `latest`.
PLACE = re.compile(r"\{([^{}]+)\}")
STDIO, HTTP = "stdio", "streamable-http"


class _Input(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An argument, a variable or a header; which keys matter depends on where it stands."""

    type: str = "positional"
    name: str = ""
    value_hint: str = ""
    value: str | None = None
    default: str | None = None
    is_required: bool = False
    is_secret: bool = False
    choices: tuple[str, ...] = ()
    format: str | None = None
    placeholder: str | None = None
    variables: Mapping[str, "_Input"] = msgspec.field(default_factory=dict)

    @property
    def is_bare_flag(self) -> bool:
        """Whether it is a flag by itself: nothing says that a value belongs to it."""
        asks = (self.default, self.format, self.placeholder, self.choices, self.variables)
        asked = self.is_required or self.is_secret or any(asks)
        return self.type == "named" and self.value is None and not asked


class _Transport(msgspec.Struct, frozen=True, kw_only=True):
    type: str
    url: str = ""
    headers: tuple[_Input, ...] = ()
    variables: Mapping[str, _Input] = msgspec.field(default_factory=dict)


class _Package(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    registry_type: str
    identifier: str
    transport: _Transport
    version: str = ""
    registry_base_url: str = ""
    runtime_hint: str = ""
    runtime_arguments: tuple[_Input, ...] = ()
    package_arguments: tuple[_Input, ...] = ()
    environment_variables: tuple[_Input, ...] = ()


class _Server(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    packages: tuple[_Package, ...] = ()
    remotes: tuple[_Transport, ...] = ()


class _Kind(NamedTuple):
    """How packages of one registry are run."""

    runtime: str
    home: tuple[str, str]
    identifier: re.Pattern[str]

    def is_home(self, base_url: str) -> bool:
        """Whether the address lies in the public registry's domain, from which it is run anyway."""
        host = urlsplit(base_url).hostname or ""
        return tuple(host.split(".")[-2:]) == self.home


KINDS: Mapping[str, _Kind] = {
    "npm": _Kind("npx", ("npmjs", "org"), re.compile(r"(?:@[\w.-]+/)?\w[\w.-]*", re.ASCII)),
    "pypi": _Kind("uvx", ("pypi", "org"), re.compile(r"\w[\w.-]*", re.ASCII)),
}
# Whatever `npx` and `uvx` would take for a URL, a path or an option is no identifier.


class Described(NamedTuple):
    """A server that can be run. `shown` is the recipe without its secrets."""

    name: ServerName
    title: str
    recipe: Command | Remote
    shown: Command | Remote


class Undescribed(NamedTuple):
    """Why nothing in the file can be run, one sentence a package or remote."""

    name: ServerName
    title: str
    reasons: tuple[str, ...]


class _Unusable(Exception):
    """Why one package or remote cannot be used."""


def read_server_json(path: Path, given: Mapping[str, str]) -> Described | Undescribed:
    """The first package, or else the first remote, that can be run with what is given.

    `given` answers what the file asks for, by the name of the variable, header or flag (leading
    dashes may be left out) or by the hint of a positional argument. Nothing is taken from
    elsewhere: the file comes from strangers, who must not choose what is read of this machine.

    Raises:
        ConfigRefused: The file is unreadable or not of this form.
    """
    try:
        document = msgspec.json.decode(path.read_bytes())
        if isinstance(document, dict) and isinstance(document.get("server"), dict):
            document = document["server"]  # as the registry itself hands it out
        server = msgspec.convert(document, _Server)
    except OSError as error:
        raise ConfigRefused(f"The file {path} cannot be read: {error.strerror}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # The text names types and keys, never values.
        raise ConfigRefused(f"The file {path} is no server.json: {error}.") from error
    name = ServerName(_short(server.name))
    if not name:
        raise ConfigRefused(f"The name {server.name!r} holds no letter and no digit.")
    reasons: list[str] = []
    offers: tuple[_Package | _Transport, ...] = (*server.packages, *server.remotes)
    for offer in offers:
        try:
            real, shown = (_recipe(offer, _Filler(given, mask=mask)) for mask in (False, True))
        except _Unusable as reason:
            reasons.append(f"{_label(offer)}: {reason}.")
        else:
            return Described(name, server.name, real, shown)
    return Undescribed(name, server.name, tuple(reasons) or ("it names no package, no remote.",))


def _short(title: str) -> str:
    """The part after the namespace, in the form of this system's names."""
    own = title.rpartition("/")[2].lower()
    return re.sub(r"[^a-z0-9-]+", "-", own).strip("-")[:LONGEST_NAME].rstrip("-")


def _label(offer: _Package | _Transport) -> str:
    if isinstance(offer, _Package):
        return f"{offer.registry_type} {offer.identifier}"
    return f"{offer.type} {offer.url}"


class _Filler:
    """Puts what is given into the places of a description, or MASK where that is a secret."""

    def __init__(self, given: Mapping[str, str], *, mask: bool) -> None:
        self._given = given
        self.mask = mask
        self._missing: list[str] = []

    def text(self, asked: _Input, label: str) -> str | None:
        """The value of an input, None where it is to be left out."""
        if asked.value is not None:
            value = self.template(asked.value, asked.variables)
        else:
            value = self._given.get(label, self._given.get(label.lstrip("-"), asked.default))
            if value is None and asked.is_required:
                self._missing.append(label)
        if value is None:
            return None
        if asked.choices and value not in asked.choices and not self.mask:
            raise _Unusable(f"{label} must be one of {', '.join(asked.choices)}")
        return MASK if self.mask and asked.is_secret else value

    def template(self, text: str, variables: Mapping[str, _Input]) -> str | None:
        """The text with its variables filled; None where an optional one has no value.

        Other braces stay as they are.
        """
        found = dict.fromkeys(name for name in PLACE.findall(text) if name in variables)
        filled = ((name, self.text(variables[name], name)) for name in found)
        values = {name: value for name, value in filled if value is not None}
        if len(values) < len(found):
            return None
        return PLACE.sub(lambda place: values.get(place[1], place[0]), text)

    def words(self, arguments: tuple[_Input, ...]) -> Iterator[str]:
        """Arguments as words; a flag and its value are two."""
        for asked in arguments:
            label = asked.name or asked.value_hint or "argument"
            value = self.text(asked, label)
            if asked.type == "named" and (value is not None or asked.is_bare_flag):
                yield asked.name
            if value is not None:
                yield value

    def pairs(self, asked: tuple[_Input, ...]) -> dict[str, str]:
        """Variables or headers that have a value."""
        filled = ((one.name, self.text(one, one.name)) for one in asked)
        return {name: value for name, value in filled if value is not None}

    def settle(self) -> None:
        """Raises _Unusable where something is missing."""
        if self._missing:
            raise _Unusable(f"it needs {', '.join(dict.fromkeys(self._missing))}")


def _recipe(offer: _Package | _Transport, fill: _Filler) -> Command | Remote:
    recipe = _command(offer, fill) if isinstance(offer, _Package) else _remote(offer, fill)
    fill.settle()
    return recipe


def _command(package: _Package, fill: _Filler) -> Command:
    kind = _kind(package)
    options = list(fill.words(package.runtime_arguments))
    if kind.runtime == "npx":
        agreed = () if {"-y", "--yes"} & set(options) else ("-y",)
        run = (*agreed, *options, f"{package.identifier}@{package.version}")
    else:
        release = f"{package.identifier}=={package.version}"
        run = (*options, "--from", release, package.identifier)
    return Command(
        command=kind.runtime,
        args=(*run, *fill.words(package.package_arguments)),
        env=fill.pairs(package.environment_variables),
    )


def _kind(package: _Package) -> _Kind:
    """Raises _Unusable for what is not run by `npx` or `uvx`, speaks no stdio, or is not pinned."""
    kind = KINDS.get(package.registry_type)
    if package.registry_type == "oci":
        raise _Unusable("it is a container image, which this version cannot start")
    if kind is None:
        raise _Unusable("packages of this kind are not supported")
    if package.transport.type != STDIO:
        raise _Unusable(f"a package that speaks {package.transport.type} is not supported")
    if package.runtime_hint not in {"", kind.runtime}:
        raise _Unusable(f"it is to be run by {package.runtime_hint}, not by {kind.runtime}")
    if package.registry_base_url and not kind.is_home(package.registry_base_url):
        raise _Unusable("it lies in another registry than the public one")
    if not kind.identifier.fullmatch(package.identifier):
        raise _Unusable("its identifier is no package's name")
    if not SPECIFIC.fullmatch(package.version):
        raise _Unusable("it names no specific version")
    return kind


def _remote(transport: _Transport, fill: _Filler) -> Remote:
    if transport.type != HTTP:
        raise _Unusable(f"remote servers over {transport.type} are not supported")
    url = fill.template(transport.url, transport.variables) or ""
    headers = fill.pairs(transport.headers)
    fill.settle()
    if not fill.mask and not url.startswith(("http://", "https://")):
        raise _Unusable("its address does not start with http:// or https://")
    return Remote(url=url, headers=headers)


def is_server_json(path: Path) -> bool:
    """Whether a file is of this form; one that is unreadable is of none."""
    try:
        document: Any = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError):
        return False
    if not isinstance(document, dict) or {"mcpServers", "servers"} & document.keys():
        return False
    return bool({"packages", "remotes", "server"} & document.keys())
