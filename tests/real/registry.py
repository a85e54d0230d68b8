"""An image registry of the tests' own, which serves images to pull over loopback.

Source: OCI Distribution Specification 1.1, the part "pull". It keeps its images in memory.
"""

import hashlib
import json
import platform
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
PATH = re.compile(r"/v2/(.+)/(manifests|blobs)/([^/]+)")
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Registry:
    """Images by name and tag; `place` is what stands before a name, `pulls` what was asked for."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.pulls: list[str] = []
        self._blobs: dict[str, tuple[str, bytes]] = {}
        self._tags: dict[str, str] = {}

    def serve(
        self, name: str, tag: str, tar: bytes, config: Mapping[str, Any] | None = None
    ) -> str:
        """Offer an image of one layer; the digest of its manifest."""
        layer = self._keep(LAYER, tar)
        image = {
            "architecture": ARCHITECTURES[platform.machine()],
            "os": "linux",
            "config": dict(config or {}),
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self._keep(CONFIG, json.dumps(image).encode()),
            "layers": [layer],
        }
        digest = str(self._keep(MANIFEST, json.dumps(manifest).encode())["digest"])
        self._tags[f"{name}:{tag}"] = digest
        return digest

    def _keep(self, media_type: str, data: bytes) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self._blobs[digest] = media_type, data
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def find(self, path: str) -> tuple[str, str, bytes] | None:
        """Digest, media type and bytes of what a path names."""
        match = PATH.fullmatch(path)
        if match is None:
            return None
        name, _, reference = match.groups()
        digest = self._tags.get(f"{name}:{reference}", reference)
        self.pulls.append(path)
        kept = self._blobs.get(digest)
        return None if kept is None else (digest, *kept)


@contextmanager
def registry() -> Iterator[Registry]:
    """One that listens while the block runs; engines take loopback without TLS."""

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(body=True)

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def _answer(self, *, body: bool) -> None:
            if self.path == "/v2/":
                found: tuple[str, str, bytes] | None = ("", "application/json", b"{}")
            else:
                found = served.find(self.path)
            if found is None:
                errors = b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'
                found, status = ("", "application/json", errors), 404
            else:
                status = 200
            digest, media_type, data = found
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(data)))
            if digest:
                self.send_header("Docker-Content-Digest", digest)
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    served = Registry(f"127.0.0.1:{server.server_port}")
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
