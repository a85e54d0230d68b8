"""Idempotency keys: a caller's name for one act, so that asking twice acts once."""

from datetime import timedelta
from typing import ClassVar, NewType

import msgspec

from domain.errors import Conflict, Invalid

IdempotencyKey = NewType("IdempotencyKey", str)

KEPT_FOR = timedelta(hours=24)
# Longer than any client retries; what is older is purged.


class KeyReused(Invalid):
    """The key stands for another request: a new act needs a new key."""


class KeyInFlight(Conflict):
    """The act of this key is still under way; its answer comes later."""

    retry_after: ClassVar[timedelta] = timedelta(seconds=1)


class Once(msgspec.Struct, frozen=True, kw_only=True):
    """A wish to act at most once: the caller's key, and what the request asks for as a digest."""

    key: IdempotencyKey
    fingerprint: str
