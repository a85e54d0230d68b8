"""A known server with the parameters that a person gives it, in a file or over HTTP."""

from collections.abc import Mapping

import msgspec

from domain.errors import Invalid
from domain.model.callers import CallerId
from domain.model.recipes import Missing, spec_of, started_from
from domain.model.servers import ServerSpec
from domain.orchestration.known import BY_NAME


class KnownServerRefused(Invalid):
    """The catalogue has no such server, or it cannot be started with what is given."""


def known_spec(
    name: str,
    arguments: Mapping[str, str | tuple[str, ...]],
    env: Mapping[str, str],
    environ: Mapping[str, str],
    owner: CallerId,
) -> ServerSpec:
    """A spec as `spec_of` makes it; `name` may be an alias, one value may stand alone.

    All of `env` is given to the server, of `environ` only what its entry names.

    Raises:
        KnownServerRefused: The name is not known, or something is missing; it says what.
        ArgumentsRefused: An argument is not the entry's, or has too many values.
    """
    entry = BY_NAME.get(name)
    if entry is None:
        raise KnownServerRefused(f"There is no known server {name!r}.", known=name)
    given = {
        argument: (values,) if isinstance(values, str) else values
        for argument, values in arguments.items()
    }
    variables = {**environ, **env}
    recipe = started_from(entry, given, variables)
    if isinstance(recipe, Missing):
        raise KnownServerRefused(f"{entry.name}: {recipe.problem}", known=entry.name)
    recipe = msgspec.structs.replace(recipe, env={**recipe.env, **env})
    return msgspec.structs.replace(spec_of(entry, given, variables, owner), recipe=recipe)
