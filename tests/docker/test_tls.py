"""An engine over TCP with TLS, which knows its client by a certificate."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.docker.creation import Labels
from adapters.docker.engine import DockerEngine
from domain.ports.engines import EngineUnavailable
from domain.ports.launching import Exit
from tests.contracts.engines import NAME
from tests.contracts.launching import SHORT, read_exactly
from tests.docker.test_contract import box
from tests.real.engine import BOX, Engine, box_tar
from tests.system.running import free_port

pytestmark = [pytest.mark.anyio, pytest.mark.containers]

LABELS = Labels(node="tls", generation="1")


def openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


def certificate(folder: Path, name: str, extension: str) -> None:
    """A key and a certificate of the folder's own authority."""
    (folder / "ext").write_text(extension, "ascii")
    request = ["req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}"]
    openssl(folder, *request, "-keyout", f"{name}-key.pem", "-out", "request.pem")
    signing = ["-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial", "-days", "2"]
    sign = ["x509", "-req", "-in", "request.pem", *signing, "-extfile", "ext"]
    openssl(folder, *sign, "-out", f"{name}.pem")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    own = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=ca"]
    openssl(folder, *own, "-keyout", "ca-key.pem", "-out", "ca.pem")
    certificate(folder, "server", "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")
    certificate(folder, "client", "extendedKeyUsage=clientAuth\n")
    (folder / "client.pem").rename(folder / "cert.pem")
    (folder / "client-key.pem").rename(folder / "key.pem")
    return folder


@pytest.fixture(scope="module")
def address(certificates: Path) -> Iterator[str]:
    port = free_port()
    engine = Engine(
        f"--host=tcp://127.0.0.1:{port}",
        "--tlsverify",
        f"--tlscacert={certificates / 'ca.pem'}",
        f"--tlscert={certificates / 'server.pem'}",
        f"--tlskey={certificates / 'server-key.pem'}",
    )
    try:
        engine.start()
        engine.bring_in(BOX, box_tar())
        yield f"tcp://127.0.0.1:{port}"
    finally:
        engine.close()


async def test_a_container_is_spoken_to_and_ended_over_tls(
    address: str, certificates: Path
) -> None:
    engine = DockerEngine("far", address, LABELS, certificates)
    child = await engine.launch(NAME, box("cat"))
    await child.stream.write(b"over tls")
    assert await read_exactly(child.stream, 8) == b"over tls"
    # Half of such a connection cannot be ended: the stop signal is the first step.
    assert await child.end(SHORT) == Exit(signal=signal.SIGTERM)
    assert await engine.containers() == ()
    await engine.aclose()


async def test_without_the_certificate_nothing_is_answered(address: str) -> None:
    stranger = DockerEngine("far", address.replace("tcp", "https"), LABELS)
    with pytest.raises(EngineUnavailable, match="cannot be reached"):
        await stranger.status()
    await stranger.aclose()
