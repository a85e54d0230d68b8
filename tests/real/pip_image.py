"""A base image with Python and pip, whose only index is a folder of wheels within it."""

import io
import subprocess
import tarfile
import zipfile
from pathlib import Path

from tests.real.python_image import INTERPRETER, add_folders, python_tar

PIP = "sutazai-test/pip:1"
CONFIGURED = b"[global]\nno-index = true\nfind-links = /wheels\nbreak-system-packages = true\n"
HOME = "/opt/pip"
# Where distributions look for packages differs, and is not what they say in an environment.
CHANGES = (f"ENV PATH={INTERPRETER.parent}:/usr/local/bin:/usr/bin:/bin PYTHONPATH={HOME}",)
LIBRARIES = ("libgcc_s.so.1", "librt.so.1", "libpthread.so.0", "libdl.so.2", "libm.so.6")
# What is compiled from Rust links to them.
DOWNLOAD_S = 300


def pip_tar(wanted: tuple[str, ...], folder: Path) -> bytes:
    """The tar of such an image; pip and what is wanted are downloaded to `folder` first."""
    command = [str(INTERPRETER), "-m", "pip", "download", "--quiet", "--only-binary=:all:"]
    subprocess.run([*command, f"--dest={folder}", "pip", *wanted], check=True, timeout=DOWNLOAD_S)
    buffer = io.BytesIO(python_tar())
    with tarfile.open(fileobj=buffer, mode="a") as tar:
        seen = set(tar.getnames())
        _add(tar, "etc/pip.conf", CONFIGURED, seen)
        libraries = (
            path for name in LIBRARIES for path in Path("/lib").glob(f"*-linux-gnu/{name}")
        )
        for library in libraries:
            if (name := str(library).lstrip("/")) not in seen:
                _add(tar, name, library.read_bytes(), seen)
        for wheel in sorted(folder.glob("*.whl")):
            _add(tar, f"wheels/{wheel.name}", wheel.read_bytes(), seen)
        (pip,) = folder.glob("pip-*.whl")
        with zipfile.ZipFile(pip) as archive:
            for name in archive.namelist():
                _add(tar, f"{HOME}/{name}".lstrip("/"), archive.read(name), seen)
        link = tarfile.TarInfo(str(INTERPRETER.with_name("python3")).lstrip("/"))
        link.type, link.linkname = tarfile.SYMTYPE, INTERPRETER.name
        tar.addfile(link)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes, seen: set[str]) -> None:
    add_folders(tar, name, seen)
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o755
    tar.addfile(info, io.BytesIO(data))
