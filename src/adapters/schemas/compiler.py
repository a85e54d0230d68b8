"""Checks of arguments against tools' schemas, by jsonschema-rs, kept within bounds."""

from collections.abc import Mapping
from typing import Any

import jsonschema_rs
import msgspec

from adapters.schemas.extent import MAX_DEPTH, extent
from adapters.schemas.growth import MAX_VISITS, growth
from adapters.schemas.places import Unusable
from domain.ports.schemas import ArgumentCheck, Fault

MAX_SCHEMA_BYTES = 262_144
# Large servers' largest schemas have some 30 KB.
MAX_PATTERN_BYTES = 65_536
# Of one compiled pattern: holds the linear engine to 0.1 us for each character.
MAX_LOCATED_VISITS = 20_000
# Where alternatives fail the validator lists every fault of each, at some 10 us a fault.
MAX_MESSAGE_CHARS = 300


class _Unchecked(msgspec.Struct, frozen=True, kw_only=True):
    """Passes everything."""

    unchecked: str

    def first_fault(self, arguments: Mapping[str, Any]) -> Fault | None:  # noqa: ARG002 - the port
        return None


class _Check:
    """A compiled schema with its growth; arguments that would take it too long pass."""

    unchecked = ""

    def __init__(
        self, validator: jsonschema_rs.Validator, growth: tuple[int, ...], *, branching: bool
    ) -> None:
        self._validator = validator
        self._growth = growth
        self._located = MAX_LOCATED_VISITS if branching else MAX_VISITS

    def first_fault(self, arguments: Mapping[str, Any]) -> Fault | None:
        measured = extent(arguments, MAX_VISITS)
        if measured.depth > MAX_DEPTH:
            return Fault(path="", message=f"The arguments are nested more than {MAX_DEPTH} deep.")
        if measured.depth >= len(self._growth):
            return None
        visits = measured.size * self._growth[measured.depth]
        if visits > MAX_VISITS:
            return None
        try:
            return self._look(dict(arguments), located=visits <= self._located)
        except jsonschema_rs.ValidationError as error:
            return Fault(path=_pointer(error.instance_path), message=_sentence(error.message))
        except ValueError:
            return Fault(path="", message="The arguments are not JSON.")

    def _look(self, arguments: dict[str, Any], *, located: bool) -> Fault | None:
        if self._validator.is_valid(arguments):
            return None
        if located:
            self._validator.validate(arguments)
        return Fault(path="", message="The arguments do not match the schema.")


class JsonSchemaCompiler:
    """Makes checks of JSON Schema drafts 4 to 2020-12; 2020-12 where a schema names none.

    Formats are notes, as the newer drafts have it. Nothing is kept between calls.
    """

    def compile(self, schema: Mapping[str, Any]) -> ArgumentCheck:
        try:
            return _compile(schema)
        except Unusable as why:
            return _Unchecked(unchecked=str(why))


def _compile(schema: Any) -> _Check:
    encoded = _encoded(schema)
    # A copy that shares no part with itself: the count of visits knows parts by identity.
    whole = msgspec.json.decode(encoded)
    if not isinstance(whole, dict | bool):
        raise Unusable("it is neither an object nor true or false")
    levels = growth(whole)
    if levels[0] > MAX_VISITS:
        raise Unusable("it asks for too much work")
    try:
        validator = jsonschema_rs.validator_for(
            whole,
            mask="the value",
            offline=True,
            validate_formats=False,
            pattern_options=jsonschema_rs.RegexOptions(size_limit=MAX_PATTERN_BYTES),
        )
    except jsonschema_rs.ValidationError as error:
        raise Unusable(f"it does not compile: {_sentence(error.message)}") from error
    except ValueError as error:
        raise Unusable("it does not compile") from error
    return _Check(validator, levels, branching=b'"anyOf"' in encoded or b'"oneOf"' in encoded)


def _encoded(schema: Any) -> bytes:
    measured = extent(schema, MAX_SCHEMA_BYTES)
    if measured.depth > MAX_DEPTH:
        raise Unusable(f"it is nested more than {MAX_DEPTH} deep")
    too_large = Unusable(f"it has more than {MAX_SCHEMA_BYTES} bytes")
    if measured.size > MAX_SCHEMA_BYTES:
        raise too_large
    try:
        encoded = msgspec.json.encode(schema)
    except (TypeError, ValueError, OverflowError) as error:
        raise Unusable("it is not JSON") from error
    if len(encoded) > MAX_SCHEMA_BYTES:
        raise too_large
    return encoded


def _pointer(path: list[str | int]) -> str:
    return "".join("/" + str(token).replace("~", "~0").replace("/", "~1") for token in path)


def _sentence(message: str) -> str:
    return f"{message[:1].upper()}{message[1:MAX_MESSAGE_CHARS]}."
