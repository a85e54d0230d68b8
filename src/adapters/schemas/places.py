"""Where a schema holds other schemas, and what its references point at."""

from collections.abc import Callable, Iterator, Mapping
from enum import Enum, auto
from typing import Any
from urllib.parse import unquote

MAX_PATTERNS = 500
# Compiling one takes up to 0.4 ms.


class Unusable(ValueError):
    """Why a schema is not used; never leaves this package."""


class Place(Enum):
    """To what an inner schema applies: the same value, one inner value, each inner value."""

    HERE = auto()
    PROPERTY = auto()
    PROPERTIES = auto()
    ITEM = auto()
    ITEMS = auto()


_SINGLE = {
    "not": Place.HERE,
    "if": Place.HERE,
    "then": Place.HERE,
    "else": Place.HERE,
    "additionalProperties": Place.PROPERTIES,
    "propertyNames": Place.PROPERTIES,
    "unevaluatedProperties": Place.PROPERTIES,
    "items": Place.ITEMS,
    "additionalItems": Place.ITEMS,
    "contains": Place.ITEMS,
    "unevaluatedItems": Place.ITEMS,
}
_LISTS = {
    "allOf": Place.HERE,
    "anyOf": Place.HERE,
    "oneOf": Place.HERE,
    "prefixItems": Place.ITEM,
    "items": Place.ITEM,
}
_MAPS = {
    "properties": Place.PROPERTY,
    "patternProperties": Place.PROPERTIES,
    "dependentSchemas": Place.HERE,
    "dependencies": Place.HERE,
}

Read = Callable[[Any], Iterator[tuple[Place, Any]]]


def places(schema: Any) -> Read:
    """What reads the inner schemas of any part of `schema`, its references included.

    Raises:
        Unusable: it refers elsewhere, or in ways that cannot be followed beforehand.
    """
    anchors = _survey(schema)

    def read(part: Any) -> Iterator[tuple[Place, Any]]:
        if not isinstance(part, Mapping):
            return
        for key, held in part.items():
            if key in _LISTS and isinstance(held, list):
                yield from ((_LISTS[key], inner) for inner in held)
            elif key in _SINGLE:
                yield _SINGLE[key], held
            elif key in _MAPS and isinstance(held, Mapping):
                yield from ((_MAPS[key], inner) for inner in held.values())
            elif key == "$ref":
                yield Place.HERE, _target(schema, anchors, held)

    return read


def _survey(schema: Any) -> Mapping[str, Any]:
    """The parts that have names of their own; also looks at parts that nothing refers to."""
    anchors: dict[str, Any] = {}
    patterns = 0
    old = isinstance(schema, Mapping) and "draft-04" in str(schema.get("$schema"))
    waiting = [schema]
    for part in waiting:
        if isinstance(part, list):
            waiting.extend(part)
        if not isinstance(part, Mapping):
            continue
        waiting.extend(part.values())
        for name in _names(part):
            if anchors.setdefault(name, part) is not part:
                raise Unusable("two parts of it have one name")
        if part is not schema and _own_document(part, old=old):
            raise Unusable("a part of it is a document of its own")
        if isinstance(part.get("$dynamicRef"), str) or isinstance(part.get("$recursiveRef"), str):
            raise Unusable("it has references that depend on the way to them")
        named = part.get("patternProperties")
        patterns += isinstance(part.get("pattern"), str)
        patterns += len(named) if isinstance(named, Mapping) else 0
    if patterns > MAX_PATTERNS:
        raise Unusable(f"it has more than {MAX_PATTERNS} patterns")
    return anchors


def _names(part: Mapping[str, Any]) -> Iterator[str]:
    """What `#name` finds it by: an anchor, in older drafts an id."""
    if isinstance(name := part.get("$anchor"), str):
        yield name
    for key in ("$id", "id"):
        if isinstance(name := part.get(key), str) and name.startswith("#"):
            yield name[1:]


def _own_document(part: Mapping[str, Any], *, old: bool) -> bool:
    """Whether references inside it count from there: `id` says so in draft 4 only."""
    identity = part.get("id" if old else "$id")
    elsewhere = isinstance(identity, str) and not identity.startswith("#")
    return elsewhere or isinstance(part.get("$schema"), str)


def _target(schema: Any, anchors: Mapping[str, Any], reference: Any) -> Any:
    if not isinstance(reference, str) or not reference.startswith("#"):
        raise Unusable("it refers elsewhere")
    name = unquote(reference[1:])
    if name and not name.startswith("/"):
        if name not in anchors:
            raise Unusable("it refers to a part that it does not have")
        return anchors[name]
    target = schema
    for token in name.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        if isinstance(target, Mapping) and key in target:
            target = target[key]
        elif isinstance(target, list) and key.isdecimal() and int(key) < len(target):
            target = target[int(key)]
        else:
            raise Unusable("it refers to a part that it does not have")
    return target
