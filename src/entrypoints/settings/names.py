"""The names under which settings are given, read off the tree that declares them."""

import difflib
import re
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from entrypoints.settings.secret import Secret
from entrypoints.settings.values import Settings

PREFIX = "SUTAZAI_"
TEST_PREFIX = "SUTAZAI_TEST_"
CLIENT_NAMES = frozenset({"SUTAZAI_URL", "SUTAZAI_API_KEY"})
FILE_SUFFIX = "_FILE"
ANY_NAME = "NAME"
MAPPED = re.compile(r"^(SUTAZAI_[A-Z]+)__([A-Z0-9](?:[A-Z0-9_-]*?[A-Z0-9])?)__([A-Z_]+)$")


class Variable(msgspec.Struct, frozen=True, kw_only=True):
    """One setting as it is named outside. `path` leads to it in the tree.

    `default` is `msgspec.NODEFAULT` where a value must be given or is worked out.
    """

    name: str
    path: tuple[str, ...]
    type: Any
    default: Any
    description: str
    must: str
    schemes: tuple[str, ...]
    example: str

    @property
    def kinds(self) -> tuple[Any, ...]:
        """The types that a value may have."""
        bare = get_args(self.type)[0]
        kinds = get_args(bare) if isinstance(bare, UnionType) else (bare,)
        return tuple(kind for kind in kinds if kind is not NoneType)

    @property
    def secret(self) -> bool:
        """Whether it may come from a file and is masked when shown."""
        return any(isinstance(kind, type) and issubclass(kind, Secret) for kind in self.kinds)


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a name points: `path` holds the real name in a map; `from_file` for `..._FILE`."""

    variable: Variable
    path: tuple[str, ...]
    from_file: bool = False


def _variables(
    struct: type[msgspec.Struct], prefix: str, path: tuple[str, ...]
) -> Iterator[Variable]:
    hints = get_type_hints(struct, include_extras=True)
    for field in msgspec.structs.fields(struct):
        hint, name = hints[field.name], prefix + field.name.upper()
        if get_origin(hint) is Mapping:
            below = get_args(hint)[1]
            yield from _variables(below, f"{name}__{ANY_NAME}__", (*path, field.name, ANY_NAME))
            continue
        meta = get_args(hint)[1]
        yield Variable(
            name=name,
            path=(*path, field.name),
            type=hint,
            default=field.default,
            description=meta.description,
            must=meta.extra["must"],
            schemes=meta.extra["schemes"],
            example=meta.extra["example"],
        )


VARIABLES: Mapping[str, Variable] = {
    variable.name: variable for variable in _variables(Settings, PREFIX, ())
}


def place_of(name: str) -> Place | None:
    """The setting that a variable's name means, None where it means none."""
    mapped = MAPPED.match(name)
    generic = f"{mapped[1]}__{ANY_NAME}__{mapped[3]}" if mapped else name
    variable, from_file = VARIABLES.get(generic), False
    if variable is None and generic.endswith(FILE_SUFFIX):
        variable, from_file = VARIABLES.get(generic.removesuffix(FILE_SUFFIX)), True
        if variable is not None and not variable.secret:
            return None
    if variable is None or (ANY_NAME in variable.path) != bool(mapped):
        return None
    path = variable.path
    if mapped:
        path = (path[0], mapped[2].lower(), path[2])
    return Place(variable=variable, path=path, from_file=from_file)


def name_of(path: tuple[str, ...]) -> str:
    """The variable's name for a place in the tree."""
    return PREFIX + "__".join(part.upper() for part in path)


def nearest(name: str) -> str | None:
    """The known name that `name` was most likely meant to be."""
    known = list(VARIABLES)
    known += [name + FILE_SUFFIX for name, variable in VARIABLES.items() if variable.secret]
    return next(iter(difflib.get_close_matches(name, known, n=1)), None)
