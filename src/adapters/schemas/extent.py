"""How large and deep a JSON value is, found without recursion."""

from collections.abc import Mapping
from typing import Any

import msgspec

MAX_DEPTH = 64
# Also what a model's server or a person would ever write; the validator recurses on the stack.
_OBJECTS, _ARRAYS = (dict, Mapping), (list, tuple)
_CHARACTERS_A_STEP = 16
# A pattern reads about so many characters in the time in which one value is looked at.


class Extent(msgspec.Struct, frozen=True, kw_only=True):
    """`depth` counts containers inside one another; `size` counts values and, roughly, text."""

    depth: int
    size: int


def extent(value: Any, max_size: int) -> Extent:
    """Measure until the value proves deeper than MAX_DEPTH or larger than `max_size`.

    Then the measure that is beyond its bound says so, and the other is a lower bound.
    """
    level = [value]
    depth = size = 0
    while level and depth <= MAX_DEPTH:
        following: list[Any] = []
        deeper = False
        size += len(level)
        for item in level:
            if isinstance(item, str):
                size += len(item) // _CHARACTERS_A_STEP
            elif isinstance(item, _OBJECTS):
                deeper = True
                following.extend(item.values())
            elif isinstance(item, _ARRAYS):
                deeper = True
                following.extend(item)
        if size > max_size:
            return Extent(depth=depth, size=size)
        depth += deeper
        level = following
    return Extent(depth=depth, size=size)
