"""A Docker Engine of the tests' own: dockerd on a private socket, in a folder of its own.

It needs root, control groups and Debian's packages docker.io and busybox-static.
"""

import io
import json
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import httpx

from tests.real.undertaker import DOWN_S, bury, end_others

UNDERTAKER = Path(__file__).with_name("undertaker.py")
UP_S = 60.0
BUSYBOX = Path("/bin/busybox")
APPLETS = ("sh", "cat", "sleep", "printf", "awk", "true", "dd", "head")
BOX = "sutazai-test/box:1"
# A shell and little else: what the roles of the launching contract are written in.


class Engine:
    """Started, stopped, killed and started again on the same data."""

    def __init__(self, *more: str) -> None:
        """`more` are further words for dockerd."""
        self._more = more
        self._folder = folder = Path(tempfile.mkdtemp(prefix="sutazai-engine-"))
        self.path = folder / "docker.sock"
        self.host = f"unix://{self.path}"
        self._process: subprocess.Popen[bytes] | None = None
        self._undertaker = subprocess.Popen(
            [sys.executable, "-I", "-S", str(UNDERTAKER), str(folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,  # what kills the tests is not for it
        )

    def start(self) -> None:
        """Return once it answers."""
        dockerd = shutil.which("dockerd")
        if dockerd is None:
            raise RuntimeError("there is no dockerd: install docker.io")
        log = (self._folder / "log").open("ab")
        self._process = subprocess.Popen(
            [
                dockerd,
                f"--host={self.host}",
                f"--data-root={self._folder / 'data'}",
                f"--exec-root={self._folder / 'exec'}",
                f"--pidfile={self._folder / 'pid'}",
                "--bridge=none",
                "--iptables=false",
                *self._more,
            ],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        until = time.monotonic() + UP_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                words = (self._folder / "log").read_text("utf-8", "replace")
                raise RuntimeError(f"dockerd did not come up:\n{words[-2000:]}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        # A connection that is refused leaves the HTTP client's socket open.
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(self.path)) != 0:
                return False
        with self.client() as client:
            return client.get("/_ping").status_code == httpx.codes.OK

    def client(self) -> httpx.Client:
        """Requests to it, past the adapter."""
        transport = httpx.HTTPTransport(uds=str(self.path))
        return httpx.Client(transport=transport, base_url="http://engine", timeout=120)

    def stop(self) -> None:
        """End it politely; its containers end with it."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, and the daemon below it; what it ran goes on without it."""
        self._end(signal.SIGKILL)
        end_others(self._folder, "containerd.toml")
        (self._folder / "exec/containerd/containerd.pid").unlink(missing_ok=True)

    def send(self, number: signal.Signals) -> None:
        """Freeze it, or let it go on."""
        assert self._process is not None
        self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.send_signal(number)
        try:
            process.wait(DOWN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def close(self) -> None:
        """Leave nothing of it: containers, mounts, processes."""
        if self._process is None:
            self.start()  # a killed one's containers end with the next
        self.empty()
        self.stop()
        bury(self._folder)
        assert self._undertaker.stdin is not None
        self._undertaker.stdin.close()
        self._undertaker.wait()

    def empty(self) -> None:
        """Remove every container."""
        with self.client() as client:
            for container in client.get("/containers/json?all=1").json():
                client.delete(f"/containers/{container['Id']}?force=1")

    def running(self, server: str) -> list[str]:
        """The ids of a server's containers, running or not."""
        filters = json.dumps({"label": [f"sutazai.server={server}"]})
        with self.client() as client:
            listed = client.get("/containers/json", params={"all": 1, "filters": filters}).json()
        return [container["Id"] for container in listed]

    def kill_container(self, container_id: str) -> None:
        """As `docker kill` does."""
        with self.client() as client:
            client.post(f"/containers/{container_id}/kill").raise_for_status()

    def bring_in(self, image: str, tar: bytes, changes: Iterable[str] = ()) -> str:
        """Make an image of a tar, without any registry; its id."""
        repository, _, tag = image.rpartition(":")
        query = {"fromSrc": "-", "repo": repository, "tag": tag, "changes": list(changes)}
        headers = {"Content-Type": "application/x-tar"}
        with self.client() as client:
            answer = client.post("/images/create", params=query, content=tar, headers=headers)
        answer.raise_for_status()
        return str(answer.json()["status"])


def box_tar() -> bytes:
    """A static busybox and the names it answers to."""
    files = {"bin/busybox": BUSYBOX.read_bytes()}
    return tar_of(files, links={f"bin/{applet}": "busybox" for applet in APPLETS})


def tar_of(files: Mapping[str, bytes], links: Mapping[str, str]) -> bytes:
    """Files that may be executed, symbolic links, and an empty /tmp to mount on.

    Every folder is named: those that an engine makes up are closed to all but root.
    """
    folders = {str(parent) for name in files for parent in Path(name).parents} | {"tmp"}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in sorted(folders - {"."}):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(folder)
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o755
            tar.addfile(info, io.BytesIO(data))
        for name, target in links.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return buffer.getvalue()
