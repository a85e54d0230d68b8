"""How much work a schema makes for each value of the arguments, found before it is used.

The validator neither yields nor stops, and a few lines of schema can ask for any amount of work:
so the amount is bounded first. Whatever is counted here is an upper bound.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

import msgspec

from adapters.schemas.extent import MAX_DEPTH, extent
from adapters.schemas.places import Place, Unusable, places

MAX_VISITS = 5_000_000
# Some 0.1 s of a thread, for all of the arguments.
_MAX_STEPS = 100_000
# Of the count itself, some 0.2 s.
_MAX_PARTS = 10_000
# The same; large real schemas have some hundreds.
_MAX_NESTING = 64
# Parts of a schema that apply to one and the same value, inside one another: stack of the thread.
_UNEVALUATED_COST = 3
# `unevaluated...` asks its neighbours again what they have seen; measured, 2.6 times the work.
_PATTERN_COST = 16


class _Node(msgspec.Struct, frozen=True, kw_only=True):
    """What one part of a schema asks for: of the value itself, and of the values inside it.

    `below` holds, for objects and for arrays, the parts of which only one meets an inner value
    and the parts that all meet it.
    """

    cost: int
    factor: int
    here: tuple[int, ...]
    below: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]


def growth(schema: Any) -> tuple[int, ...]:
    """By depth of the arguments: at most how often one of their values is looked at.

    Depths beyond the end of the tuple are not known; numbers above MAX_VISITS are not exact.

    Raises:
        Unusable: the schema must not be given to the validator.
    """
    nodes = tuple(_nodes(schema))
    order = _inner_first(nodes)
    edges = sum(1 + len(node.here) + sum(map(_width, node.below)) for node in nodes)
    levels: list[int] = []
    before: list[int] = []
    while len(levels) <= min(MAX_DEPTH, _MAX_STEPS // edges):
        now = _level(nodes, order, before)
        levels.append(now[0])
        if now == before:
            levels.extend(now[:1] * (MAX_DEPTH + 1 - len(levels)))
            break
        before = now
    return tuple(accumulate(levels, max))


def _nodes(schema: Any) -> Iterator[_Node]:
    """All parts that can be reached, the whole schema first; each names others by position."""
    found: dict[int, int] = {}
    waiting: list[Any] = []

    def position(part: Any) -> int:
        if id(part) not in found:
            found[id(part)] = len(found)
            waiting.append(part)
        return found[id(part)]

    read = places(schema)
    position(schema)
    for part in waiting:
        if len(waiting) > _MAX_PARTS:
            raise Unusable(f"it has more than {_MAX_PARTS} parts")
        by_place: dict[Place, list[int]] = {place: [] for place in Place}
        for place, inner in read(part):
            by_place[place].append(position(inner))
        yield _Node(
            cost=_cost(part),
            factor=_UNEVALUATED_COST if _reconsiders(part) else 1,
            here=tuple(by_place[Place.HERE]),
            below=(
                (tuple(by_place[Place.PROPERTY]), tuple(by_place[Place.PROPERTIES])),
                (tuple(by_place[Place.ITEM]), tuple(by_place[Place.ITEMS])),
            ),
        )


def _cost(part: Any) -> int:
    if not isinstance(part, Mapping):
        return 1
    patterns = part.get("patternProperties")
    count = ("pattern" in part) + (len(patterns) if isinstance(patterns, Mapping) else 0)
    choices = [part[key] for key in ("enum", "const") if key in part]
    return 1 + _PATTERN_COST * count + sum(extent(held, MAX_VISITS).size for held in choices)


def _reconsiders(part: Any) -> bool:
    return isinstance(part, Mapping) and (
        "unevaluatedProperties" in part or "unevaluatedItems" in part
    )


def _width(branch: tuple[tuple[int, ...], tuple[int, ...]]) -> int:
    return len(branch[0]) + len(branch[1])


def _inner_first(nodes: Sequence[_Node]) -> tuple[int, ...]:
    """The positions so that each comes after all that apply to the same value inside it."""
    users: list[list[int]] = [[] for _ in nodes]
    missing = [len(node.here) for node in nodes]
    nesting = [1] * len(nodes)
    for position, node in enumerate(nodes):
        for inner in node.here:
            users[inner].append(position)
    order = [position for position, count in enumerate(missing) if not count]
    for inner in order:
        for user in users[inner]:
            nesting[user] = max(nesting[user], nesting[inner] + 1)
            missing[user] -= 1
            if not missing[user]:
                order.append(user)
    if len(order) < len(nodes):
        raise Unusable("it refers to itself without an end")
    if max(nesting) > _MAX_NESTING:
        raise Unusable("its references are nested too deeply")
    return tuple(order)


def _level(nodes: Sequence[_Node], order: Sequence[int], before: Sequence[int]) -> list[int]:
    """For each part: visits of one value at the next depth, where `before` has the last one's."""
    now = [0] * len(nodes)
    for position in order:
        node = nodes[position]
        own = node.cost
        if before:
            own = max(
                max((before[one] for one in alone), default=0) + sum(before[all_] for all_ in every)
                for alone, every in node.below
            )
        visits = own + node.factor * sum(now[inner] for inner in node.here)
        now[position] = min(visits, MAX_VISITS + 1)
    return now
