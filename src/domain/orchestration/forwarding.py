"""Which of the protocol's requests a caller may have sent to a server as they are."""

from collections.abc import Mapping
from typing import Any

from domain.errors import Invalid

_FORWARDED = ("tools/", "resources/", "prompts/")
_ALSO = frozenset({"completion/complete", "ping"})
_NOT_FORWARDED = frozenset({"resources/subscribe", "resources/unsubscribe"})


class MethodNotAllowed(Invalid):
    """The method is not one that callers may send to a server."""


def require_forwarded(method: str, params: Mapping[str, Any]) -> None:
    """Raises MethodNotAllowed, and Invalid where `_meta` is no object."""
    if method in _NOT_FORWARDED or not (method in _ALSO or method.startswith(_FORWARDED)):
        raise MethodNotAllowed(f"The method {method!r} cannot be sent to a server.")
    if not isinstance(params.get("_meta", {}), dict):
        raise Invalid("_meta in params must be an object.")
