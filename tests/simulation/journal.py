"""What happened in a run: the trace that a person reads, and the facts that rules are held to."""

import asyncio
import hashlib
from collections import defaultdict
from typing import Any

import msgspec

from tests.simulation.loop import HERE


class Entry(msgspec.Struct, frozen=True):
    """One thing that happened: when, on which node, what, and to which thing."""

    at: float
    node: str
    what: str
    about: str
    data: dict[str, Any]

    def __str__(self) -> str:
        told = " ".join(f"{key}={value}" for key, value in self.data.items())
        return f"{self.at:10.4f}  {self.node:<8} {self.what:<12} {self.about} {told}".rstrip()


class Journal:
    """Entries in order, by what they are and by what they are about; rules broken on the way."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.broken: list[str] = []
        self._by_what: dict[str, list[Entry]] = defaultdict(list)
        self._by_fact: dict[tuple[str, str], list[Entry]] = defaultdict(list)

    def note(self, what: str, about: str = "", **data: Any) -> Entry:
        """Something happened here and now."""
        here = HERE.get()
        at = asyncio.get_running_loop().time()
        entry = Entry(at, here.name if here is not None else "world", what, about, data)
        self.entries.append(entry)
        self._by_what[what].append(entry)
        self._by_fact[what, about].append(entry)
        return entry

    def all(self, what: str, about: str | None = None) -> list[Entry]:
        """What happened of a kind, in order."""
        if about is None:
            return self._by_what.get(what, [])
        return self._by_fact.get((what, about), [])

    def has(self, what: str, about: str) -> bool:
        """Whether it happened at all."""
        return (what, about) in self._by_fact

    def broke(self, rule: str) -> None:
        """A rule was broken here and now."""
        self.broken.append(rule)
        self.note("BROKEN", rule)

    def require(self, kept: object, rule: str) -> None:
        """Note the rule as broken where it is not kept."""
        if not kept:
            self.broke(rule)

    def digest(self) -> str:
        """SHA-256 of the whole trace in hex."""
        digest = hashlib.sha256()
        for entry in self.entries:
            digest.update(f"{entry}\n".encode())
        return digest.hexdigest()
