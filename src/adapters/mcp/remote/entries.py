"""What an entry names: a remote server's address and its headers, checked and kept secret."""

import ipaddress
import re
from collections.abc import Mapping

import httpx

from domain.ports.mcp import HandshakeFailed

SHORTEST_SECRET = 8
# Masking shorter header values would garble what servers say.
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
_FRAMING = frozenset({"content-length", "transfer-encoding"})


class ShownByOrigin(httpx.URL):
    """Paths, queries and passwords may be secrets, and httpx logs the address of each request."""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc.decode('ascii')}"


def address_of(url: str) -> ShownByOrigin:
    """Raises HandshakeFailed where the entry names no address of http or https."""
    try:
        address = ShownByOrigin(url)
    except httpx.InvalidURL:
        raise HandshakeFailed("the server's address is not a URL") from None
    if address.scheme not in {"http", "https"} or not address.host:
        raise HandshakeFailed("the server's address is not a URL of http or https")
    return address


def checked(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Raises HandshakeFailed, naming only the header, where one cannot be sent."""
    for name, value in headers.items():
        named = _HEADER_NAME.fullmatch(name) and name.lower() not in _FRAMING
        if not named or not _HEADER_VALUE.fullmatch(value.strip()):
            raise HandshakeFailed(f"the server's header {name[:60]!r} cannot be sent as it is")
    return {name: value.strip() for name, value in headers.items()}


def secrets_of(headers: Mapping[str, str]) -> list[bytes]:
    """What of the headers is kept out of errors: each value, and of `Bearer x` also the `x`."""
    values = {part for value in headers.values() for part in (value.strip(), *value.split()[-1:])}
    long = [value.encode() for value in values if len(value) >= SHORTEST_SECRET]
    return sorted(long, key=len, reverse=True)


def on_this_machine(host: str) -> bool:
    """Whether a host is this machine by its very name."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
