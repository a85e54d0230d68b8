"""The folder in which a system keeps what is its own."""

from pathlib import Path

from domain.errors import Unavailable


class DataFolderUnusable(Unavailable):
    """The data folder cannot be made, or is no folder."""


def make_data_folder(path: Path) -> None:
    """Make the folder with mode 0700, parents included; one that exists keeps its mode."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise DataFolderUnusable(
            f"SUTAZAI_DATA_DIR: the folder {path} cannot be used: {error.strerror}."
        ) from error
