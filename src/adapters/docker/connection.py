"""HTTP to an engine: over its unix socket, TCP, or TCP with TLS, in a version both speak."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpcore
import httpx
import msgspec

from adapters.docker.wire import Fault, Progress, Version
from domain.model.containers import EngineRefused
from domain.ports.engines import EngineUnavailable

T = TypeVar("T")

NEWEST, OLDEST = (1, 44), (1, 41)
# What was read, and what a Debian 12 has: 20.10.
CONNECT_S = 5.0
USUAL_S = 15.0
# An engine under load takes seconds for what usually takes milliseconds.
LONG_S = 120.0
# A storage driver that copies whole images takes its time over the first container.
MOST_WORDS = 300
_SERVER_ERROR = 500

Query = Mapping[str, str | int | bool]


class Connection:
    """Requests to one engine; `name` is how its failures are told.

    `host` is `unix:///path`, `tcp://host:port`, `http://…` or `https://…`; with `certificates`,
    a folder of ca.pem, cert.pem and key.pem, TCP goes over TLS.
    """

    def __init__(self, name: str, host: str, certificates: Path | None = None) -> None:
        self._name = name
        self.tls = certificates is not None or host.startswith("https://")
        scheme, _, place = host.partition("://")
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=8)
        if scheme == "unix":
            transport = httpx.AsyncHTTPTransport(uds=place, limits=limits)
            base = "http://engine"
        else:
            verify = _context(certificates) if certificates is not None else True
            transport = httpx.AsyncHTTPTransport(verify=verify, limits=limits, trust_env=False)
            base = f"{'https' if self.tls else 'http'}://{place}"
        self._client = httpx.AsyncClient(
            transport=transport, base_url=base, timeout=httpx.Timeout(USUAL_S, connect=CONNECT_S)
        )
        self._prefix: str | None = None
        self.version = Version(version="", api_version="")

    async def aclose(self) -> None:
        """End all connections."""
        await self._client.aclose()

    async def negotiate(self) -> Version:
        """Ask for the engine's version and choose the API's; safe to repeat."""
        answer = await self._sent("GET", "/version", timeout_s=USUAL_S)
        self.version = self._read(answer, Version)
        newest = _numbers(self.version.api_version)
        if newest < OLDEST or _numbers(self.version.min_api_version) > NEWEST:
            raise EngineUnavailable(
                f"The engine {self._name!r} speaks the API {self.version.api_version}, "
                f"this system {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}."
            )
        major, minor = min(newest, NEWEST)
        self._prefix = f"/v{major}.{minor}"
        return self.version

    async def ask(  # noqa: PLR0913 - a request is all of this
        self,
        method: str,
        path: str,
        kind: type[T],
        *,
        query: Query | None = None,
        body: Any = None,
        timeout_s: float = USUAL_S,
    ) -> T:
        """One exchange, its answer read as `kind`. Raises as `order`."""
        answer = await self.order(method, path, query=query, body=body, timeout_s=timeout_s)
        return self._read(answer, kind)

    async def order(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        timeout_s: float = USUAL_S,
    ) -> httpx.Response:
        """One exchange. Raises EngineUnavailable, and Refusal with the engine's own words."""
        if self._prefix is None:
            await self.negotiate()
        return await self._sent(method, f"{self._prefix}{path}", query, body, timeout_s)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        content: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[httpx.Response]:
        """An answer that goes on; only connecting is bounded. Raises as `order`."""
        if self._prefix is None:
            await self.negotiate()
        request = self._client.build_request(
            method,
            f"{self._prefix}{path}",
            params=dict(query or {}),
            content=content,
            headers=dict(headers or {}),
            timeout=httpx.Timeout(None, connect=CONNECT_S),
        )
        response = await self._guarded(self._client.send(request, stream=True), CONNECT_S + LONG_S)
        try:
            if response.is_error:
                await response.aread()
                self._judge(response)
            yield response
        except (httpx.HTTPError, httpcore.NetworkError) as error:
            raise self._lost(error) from error
        finally:
            await response.aclose()

    async def attach(self, path: str, query: Query) -> httpx.Response:
        """Upgrade a connection to the raw stream, in the response's `network_stream`."""
        if self._prefix is None:
            await self.negotiate()
        request = self._client.build_request(
            "POST",
            f"{self._prefix}{path}",
            params=dict(query),
            headers={"Connection": "Upgrade", "Upgrade": "tcp"},
            timeout=httpx.Timeout(None, connect=CONNECT_S),
        )
        response = await self._guarded(self._client.send(request, stream=True), USUAL_S)
        if response.status_code != httpx.codes.SWITCHING_PROTOCOLS:
            await response.aread()
            self._judge(response)
            raise EngineUnavailable(f"The engine {self._name!r} does not attach as it should.")
        return response

    async def _sent(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Any = None,
        timeout_s: float = USUAL_S,
    ) -> httpx.Response:
        request = self._client.build_request(
            method,
            path,
            params=dict(query or {}),
            content=None if body is None else msgspec.json.encode(body),
            headers={} if body is None else {"Content-Type": "application/json"},
            timeout=httpx.Timeout(timeout_s, connect=CONNECT_S),
        )
        response = await self._guarded(self._client.send(request), timeout_s)
        self._judge(response)
        return response

    async def _guarded(self, sending: Any, timeout_s: float) -> httpx.Response:
        """One bound for all of an exchange: an engine that drips must not hold a caller."""
        try:
            async with asyncio.timeout(timeout_s):
                response: httpx.Response = await sending
        except (httpx.HTTPError, OSError, TimeoutError) as error:
            raise self._lost(error) from error
        return response

    def _judge(self, response: httpx.Response) -> None:
        if not response.is_error:
            return
        try:
            words = msgspec.json.decode(response.content, type=Fault).message
        except msgspec.DecodeError:
            words = ""
        words = " ".join(words.split())[:MOST_WORDS] or f"HTTP {response.status_code}"
        raise Refusal(response.status_code, words, self._name)

    def _read(self, response: httpx.Response, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(response.content, type=kind)
        except msgspec.DecodeError as error:
            raise EngineUnavailable(
                f"The engine {self._name!r} answers with something that is no Engine API."
            ) from error

    def _lost(self, error: BaseException) -> EngineUnavailable:
        late = isinstance(error, TimeoutError | httpx.TimeoutException)
        what = "does not answer in time" if late else "cannot be reached"
        return EngineUnavailable(f"The engine {self._name!r} {what}.", engine=self._name)


class Refusal(EngineRefused):
    """The engine's error answer: `status` is HTTP's, `words` its own message."""

    def __init__(self, status: int, words: str, engine: str) -> None:
        super().__init__(f"The engine {engine!r} refused: {words}", engine=engine)
        self.status = status
        self.words = words

    @property
    def broken(self) -> bool:
        """Whether the engine itself failed, rather than what it was asked."""
        return self.status >= _SERVER_ERROR


async def progress(answer: httpx.Response) -> AsyncIterator[Progress]:
    """The lines of JSON in which a pull, an import or a build tells how far it is."""
    decoder = msgspec.json.Decoder(Progress)
    async for line in answer.aiter_lines():
        if line.strip():
            yield decoder.decode(line)


def _context(folder: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


def _numbers(version: str) -> tuple[int, int]:
    major, _, minor = version.partition(".")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else (0, 0)
