"""Who works in a data folder: one system, and workers by number."""

from pathlib import Path

import pytest

from entrypoints.claim import FolderHeld, folder_claim, installation_id, worker_claim
from tests.cli.conftest import Command


def test_a_folder_has_one_system_and_any_number_of_workers(tmp_path: Path) -> None:
    with folder_claim(tmp_path, "http://here"), worker_claim(tmp_path) as first:
        with worker_claim(tmp_path) as second:
            assert (first, second) == (1, 2)
        with pytest.raises(FolderHeld, match="http://here"), folder_claim(tmp_path, "http://there"):
            pass


def test_a_worker_takes_the_place_of_one_that_has_ended(tmp_path: Path) -> None:
    with worker_claim(tmp_path) as first:
        with worker_claim(tmp_path) as second:
            pass
        with worker_claim(tmp_path) as third:
            assert third == second
    with worker_claim(tmp_path) as fourth:
        assert fourth == first


def test_an_installation_keeps_the_id_of_its_first_start(tmp_path: Path) -> None:
    assert installation_id(tmp_path) == installation_id(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["installation-id"]


def test_the_concurrency_of_a_worker_has_bounds(command: Command) -> None:
    ran = command("work", "--concurrency", "0")

    assert ran.code == 1
    assert ran.err == "error: --concurrency must be a whole number from 1 to 1000.\n"
