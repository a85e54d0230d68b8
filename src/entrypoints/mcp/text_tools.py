"""Tools that look at text or change it."""

import hashlib
import re
from collections.abc import Callable
from typing import Annotated, Literal

import msgspec

from entrypoints.mcp.tool_table import Run, Tool

MAX_MATCHES = 1000
# More would drown a model; the total is always told.

Text = Annotated[str, msgspec.Meta(description="The text")]


class Echo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arguments of `echo`."""

    text: Text


class CountText(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arguments of `count_text`."""

    text: Text


class HashText(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arguments of `hash_text`."""

    text: Text
    algorithm: Literal["md5", "sha1", "sha256", "sha512", "blake2b"] = "sha256"


class TransformText(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arguments of `transform_text`."""

    text: Text
    transformation: Literal[
        "upper",
        "lower",
        "title",
        "reverse",
        "trim",
        "collapse_whitespace",
        "sort_lines",
        "unique_lines",
    ]


class FindText(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arguments of `find_text`."""

    text: Text
    pattern: Annotated[
        str, msgspec.Meta(min_length=1, description="What to find, literally: no wildcards")
    ]
    ignore_case: bool = False
    limit: Annotated[
        int, msgspec.Meta(ge=1, le=MAX_MATCHES, description="How many matches to show")
    ] = 100


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes of a text; the bytes are those of its UTF-8."""

    characters: int
    words: int
    lines: int
    utf8_bytes: int


class Digest(msgspec.Struct, frozen=True, kw_only=True):
    """The hash of the text's UTF-8, in hex."""

    algorithm: str
    digest: str


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """A place in the text: `offset` counts characters from 0, line and column from 1."""

    offset: int
    line: int
    column: int


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Where the pattern stands, in order and without overlaps; `count` is of all matches."""

    count: int
    matches: tuple[Match, ...]


TRANSFORMATIONS: dict[str, Callable[[str], str]] = {
    "upper": str.upper,
    "lower": str.lower,
    "title": str.title,
    "reverse": lambda text: text[::-1],
    "trim": str.strip,
    "collapse_whitespace": lambda text: " ".join(text.split()),
    "sort_lines": lambda text: "\n".join(sorted(text.splitlines())),
    "unique_lines": lambda text: "\n".join(dict.fromkeys(text.splitlines())),
}


def _echo(given: Echo, _: Run) -> str:
    return given.text


def _count_text(given: CountText, _: Run) -> Counts:
    return Counts(
        characters=len(given.text),
        words=len(given.text.split()),
        lines=len(given.text.splitlines()),
        utf8_bytes=len(given.text.encode()),
    )


def _hash_text(given: HashText, _: Run) -> Digest:
    # No secret hangs on these: md5 and sha1 are offered to compare with what others published.
    hashed = hashlib.new(given.algorithm, given.text.encode(), usedforsecurity=False)
    return Digest(algorithm=given.algorithm, digest=hashed.hexdigest())


def _transform_text(given: TransformText, _: Run) -> str:
    return TRANSFORMATIONS[given.transformation](given.text)


def _find_text(given: FindText, _: Run) -> Found:
    pattern = re.compile(re.escape(given.pattern), re.IGNORECASE if given.ignore_case else 0)
    matches: list[Match] = []
    count, line, line_start, looked = 0, 1, 0, 0
    for found in pattern.finditer(given.text):
        count += 1
        if len(matches) >= given.limit:
            continue
        line += given.text.count("\n", looked, found.start())
        line_start = given.text.rfind("\n", 0, found.start()) + 1
        looked = found.start()
        matches.append(Match(offset=looked, line=line, column=looked - line_start + 1))
    return Found(count=count, matches=tuple(matches))


TEXT_TOOLS = (
    Tool(
        name="echo",
        title="Echo",
        description="Say the text again, unchanged.",
        arguments=Echo,
        run=_echo,
    ),
    Tool(
        name="count_text",
        title="Count text",
        description="How many characters, words, lines and bytes a text has.",
        arguments=CountText,
        gives=Counts,
        run=_count_text,
    ),
    Tool(
        name="hash_text",
        title="Hash text",
        description="The hash of a text's UTF-8 bytes, in hex.",
        arguments=HashText,
        gives=Digest,
        run=_hash_text,
    ),
    Tool(
        name="transform_text",
        title="Transform text",
        description="The text in another case or order, or without superfluous white space.",
        arguments=TransformText,
        run=_transform_text,
    ),
    Tool(
        name="find_text",
        title="Find text",
        description="Where a literal pattern stands in a text: offsets, lines and columns.",
        arguments=FindText,
        gives=Found,
        run=_find_text,
    ),
)
