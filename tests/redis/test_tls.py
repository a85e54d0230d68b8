"""Redis over TLS: a real handshake with a real Redis behind it."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from adapters.redis.link import RedisLink, RedisUnavailable
from adapters.system import SystemChance
from tests.redis.sides import new_prefix, side

pytestmark = [pytest.mark.services, pytest.mark.anyio]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@asynccontextmanager
async def _terminated(authority: trustme.CA, redis_url: str) -> AsyncIterator[int]:
    """A port that speaks TLS, and hands on to the server what it hears."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    behind = urlsplit(redis_url)

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(behind.hostname, behind.port)
        await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def _over_tls(redis_url: str, port: int, options: str) -> str:
    credentials = urlsplit(redis_url).netloc.rpartition("@")[0]
    return f"rediss://{credentials}{'@' * bool(credentials)}127.0.0.1:{port}/0?{options}"


async def test_hints_go_over_tls(redis_url: str, authority: trustme.CA, tmp_path: Path) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    prefix = new_prefix()
    async with _terminated(authority, redis_url) as port:
        url = _over_tls(redis_url, port, f"ssl_ca_certs={tmp_path / 'ca.pem'}")
        async with (
            side(url, prefix) as one,
            side(redis_url, prefix) as other,
            one.signals.subscribe("t") as here,
            other.signals.subscribe("t") as there,
        ):
            one.signals.publish("t", {"n": 1})
            assert await there.next(5) == {"n": 1}
            other.signals.publish("t", {"n": 2})
            assert [await here.next(5), await here.next(5)] == [{"n": 1}, {"n": 2}]


async def test_a_server_whose_certificate_nobody_vouches_for_is_not_reached(
    redis_url: str, authority: trustme.CA
) -> None:
    async with _terminated(authority, redis_url) as port:
        link = RedisLink(_over_tls(redis_url, port, ""), SystemChance(), new_prefix())
        with pytest.raises(RedisUnavailable):
            await link.start(timedelta(seconds=0.5))
        assert (link.here, link.reason) == (False, "it cannot be reached")
        await link.aclose()
