"""Images for packages of npm and PyPI: what is installed, and what then runs."""

import re

from domain.errors import Invalid
from domain.model.containers import Blueprint, PackageRefused
from domain.model.recipes import KnownServer, Npm, Pypi

NPM_NAME = re.compile(r"(?:@[a-z0-9~][a-z0-9._~-]*/)?[a-z0-9~][a-z0-9._~-]*")
# https://docs.npmjs.com/cli/configuring-npm/package-json, `name`.
PYPI_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
# PEP 508.
VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}")
CONSTRAINT = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._-]*(?:\s*(?:[<>=!~]=?|===)\s*[0-9A-Za-z.*+!-]+,?)+"
)
SCRIPT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}")
MOST_CHARS = 214
# npm's own bound on a name.
HOME = "/tmp"  # noqa: S108 - the only folder that a container of this system can write
_NPM_PLACE = "/opt/server"
# Of what is installed globally npx knows the programs alone, and asks the registry for packages.
_ENVIRONMENT = {
    "HOME": HOME,
    "npm_config_cache": f"{HOME}/.npm",
    "npm_config_update_notifier": "false",
}


class NotBuildable(Invalid):
    """The known server is no package of npm or PyPI: there is nothing to build an image from."""


def blueprint_of(known: KnownServer, base: str, args: tuple[str, ...]) -> Blueprint:
    """The image of a known server on `base`; `args` take the place of the recipe's own.

    Raises NotBuildable, PackageRefused.
    """
    recipe = known.recipe
    image = f"sutazai/{known.name}"
    if isinstance(recipe, Npm):
        _checked(recipe.package, NPM_NAME)
        package = f"{recipe.package}@{_checked(recipe.version, VERSION)}"
        return Blueprint(
            image=f"{image}:{recipe.version.replace('+', '-')}",
            base=base,
            folder=_NPM_PLACE,
            steps=(("npm", "install", "--no-fund", "--no-audit", package),),
            environment=_ENVIRONMENT,
            command=("npx", "--no-install", recipe.package, *args),
        )
    if isinstance(recipe, Pypi):
        _checked(recipe.package, PYPI_NAME)
        wanted = f"{recipe.package}=={_checked(recipe.version, VERSION)}"
        bounds = tuple(_checked(each, CONSTRAINT) for each in recipe.constraints)
        pip = ("python3", "-m", "pip", "install", "--no-cache-dir", "--no-input")
        return Blueprint(
            image=f"{image}:{recipe.version.replace('+', '-')}",
            base=base,
            steps=((*pip, wanted, *bounds),),
            environment=_ENVIRONMENT,
            command=(_checked(recipe.script, SCRIPT), *args),
        )
    raise NotBuildable(f"The known server {known.name!r} is no package of npm or PyPI.")


def _checked(text: str, grammar: re.Pattern[str]) -> str:
    if len(text) > MOST_CHARS or grammar.fullmatch(text) is None:
        raise PackageRefused(
            f"{text[:MOST_CHARS]!r} cannot be part of a package's name or version."
        )
    return text
