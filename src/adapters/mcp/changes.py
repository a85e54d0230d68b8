"""Hearing that a server's lists have changed, in either era, without I/O."""

from collections.abc import Mapping
from typing import Any

import msgspec

from adapters.mcp.wire import SUBSCRIPTION_KEY
from domain.model.servers import Era
from domain.ports.mcp import Peer

LISTEN = "subscriptions/listen"
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
_LISTS = ("tools", "prompts", "resources")
_NOTICES = {f"notifications/{name}/list_changed": name for name in _LISTS}


class _Tagged(msgspec.Struct, frozen=True):
    meta: dict[str, Any] = msgspec.field(default_factory=dict, name="_meta")


def announced_lists(peer: Peer) -> tuple[str, ...]:
    """The lists whose changes the peer says it tells of."""
    told = [peer.capabilities.get(name) for name in _LISTS]
    return tuple(
        name
        for name, capability in zip(_LISTS, told, strict=True)
        if isinstance(capability, Mapping) and capability.get("listChanged") is True
    )


def listen_params(lists: tuple[str, ...]) -> dict[str, Any]:
    """What a modern peer is asked to tell of."""
    return {"notifications": {f"{name}ListChanged": True for name in lists}}


def changed_list(
    peer: Peer, method: str, params: msgspec.Raw, subscription: int | None
) -> str | None:
    """The list that a notification says has changed, None where it says nothing of the kind.

    A modern notice counts only under the id of our own open subscription.
    """
    name = _NOTICES.get(method)
    if name is None or peer.era is Era.LEGACY:
        return name if name in announced_lists(peer) else None
    return name if subscription is not None and subscription_of(params) == subscription else None


def subscription_of(params: msgspec.Raw) -> object:
    """The subscription that a notification belongs to, None for none."""
    try:
        return msgspec.json.decode(params, type=_Tagged).meta.get(SUBSCRIPTION_KEY)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
