"""An image of this interpreter and this project's bundled server, made without any registry."""

import io
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[2]
LEFT_OUT = frozenset(
    {
        *("__pycache__", "site-packages", "dist-packages"),
        *("test", "tests", "idlelib", "tkinter", "ensurepip", "lib2to3"),
    }
)
PYTHON = "sutazai-test/python:1"
INTERPRETER = Path(sys.executable).resolve()
HOME = "/srv"
# Where the project's own packages lie in the image.
CHANGES = (
    f"ENV PYTHONPATH={HOME} PYTHONDONTWRITEBYTECODE=1",
    f'CMD ["{INTERPRETER}", "-P", "-m", "entrypoints.mcp.bundled"]',
)


def python_tar() -> bytes:
    """The interpreter with what it links to, its library, msgspec and this project's sources."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        seen: set[str] = set()
        for path in sorted({*_interpreter(), *linked(_objects())}):
            add_file(tar, path, str(path).lstrip("/"), seen)
        for package in ("domain", "entrypoints", "adapters"):
            add_tree(tar, ROOT / "src" / package, f"{HOME}/{package}".lstrip("/"), seen)
        msgspec_home = Path(msgspec.__file__).parent
        add_tree(tar, msgspec_home, f"{HOME}/msgspec".lstrip("/"), seen)
        add_folders(tar, "tmp/x", seen, mode=0o1777)
    return buffer.getvalue()


def _interpreter() -> Iterator[Path]:
    yield INTERPRETER
    for name in ("stdlib", "platstdlib"):
        for path in Path(sysconfig.get_path(name, vars=BASE)).rglob("*"):
            if path.suffix != ".a" and path.is_file() and not LEFT_OUT & set(path.parts):
                yield path


BASE = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix}


def _objects() -> Iterator[Path]:
    """The interpreter and its own extensions."""
    home = Path(sysconfig.get_path("platstdlib", vars=BASE))
    yield INTERPRETER
    yield from home.glob("lib-dynload/*.so")
    yield from Path(msgspec.__file__).parent.glob("*.so")


def linked(objects: Iterable[Path]) -> Iterator[Path]:
    """Shared libraries of programs and extensions, as the loader finds them."""
    command = ["ldd", *map(str, objects)]
    output = subprocess.run(command, check=False, capture_output=True, text=True).stdout
    for line in output.splitlines():
        for word in line.split():
            if word.startswith("/") and not word.endswith(":"):
                yield Path(word)


def add_tree(tar: tarfile.TarFile, folder: Path, name: str, seen: set[str]) -> None:
    """All files of a folder, but compiled ones of Python's."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            add_file(tar, path, f"{name}/{path.relative_to(folder)}", seen)


def add_file(tar: tarfile.TarFile, path: Path, name: str, seen: set[str]) -> None:
    """One file under a name, with its folders, unless it is there already."""
    if name in seen:
        return
    seen.add(name)
    add_folders(tar, name, seen)
    info = tarfile.TarInfo(name)
    data = path.read_bytes()  # whatever a link points at
    info.size, info.mode = len(data), 0o755
    tar.addfile(info, io.BytesIO(data))


def add_folders(tar: tarfile.TarFile, name: str, seen: set[str], mode: int = 0o755) -> None:
    for parent in reversed(Path(name).parents):
        if str(parent) not in {".", *seen}:
            seen.add(str(parent))
            folder = tarfile.TarInfo(str(parent))
            folder.type, folder.mode = tarfile.DIRTYPE, mode
            tar.addfile(folder)
