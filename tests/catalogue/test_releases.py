"""The releases that the catalogue names are there."""

import subprocess

import pytest

from domain.model.recipes import Npm
from domain.orchestration.known import KNOWN

pytestmark = pytest.mark.services

RELEASES = sorted(
    {
        f"{entry.recipe.package}@{entry.recipe.version}"
        for entry in KNOWN
        if isinstance(entry.recipe, Npm)
    }
)


@pytest.mark.parametrize("release", RELEASES)
def test_a_release_is_on_npm(release: str) -> None:
    found = subprocess.run(
        ["npm", "view", release, "version"], capture_output=True, text=True, timeout=60, check=True
    )

    assert found.stdout.strip() == release.rpartition("@")[2]
