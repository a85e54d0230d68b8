"""Tool names: plain where they can be, hashed where they must be."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.orchestration.names import MAX_FULL_NAME, full_name, hashed_name

SAFE = re.compile(r"[A-Za-z0-9_-]{1,64}")
servers = st.from_regex(r"[a-z0-9][a-z0-9-]{0,31}", fullmatch=True)


@pytest.mark.parametrize(
    ("server", "tool", "expected"),
    [
        ("time", "now", "time__now"),
        ("a", "b__c", "a__b__c"),
        ("s", "read.file", "s__read_file_64a3be19"),
        ("s", "x" * 61, "s__" + "x" * 61),
    ],
)
def test_a_name_is_plain_unless_it_must_not_be(server: str, tool: str, expected: str) -> None:
    assert full_name(server, tool) == expected


def test_a_name_over_64_characters_keeps_55_and_a_hash() -> None:
    name = full_name("s", "x" * 62)
    assert len(name) == MAX_FULL_NAME
    assert name.startswith("s__" + "x" * 52 + "_")
    assert name == hashed_name("s", "x" * 62)


@given(servers, st.text(min_size=1))
def test_every_name_is_fit_for_a_model(server: str, tool: str) -> None:
    assert SAFE.fullmatch(full_name(server, tool))


@given(st.tuples(servers, st.text(min_size=1)), st.tuples(servers, st.text(min_size=1)))
def test_two_tools_have_two_names(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (full_name(*one) == full_name(*other)) == (one == other)
