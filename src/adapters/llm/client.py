"""A language model behind HTTP, at any server that speaks OpenAI's chat completions."""

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
import msgspec

from adapters.llm.wire import AnswerDecoder, encode_request, error_text
from domain.ports.models import (
    ModelAnswer,
    ModelRefused,
    ModelRequest,
    ModelText,
    ModelUnavailable,
)

CONNECT_TIMEOUT = timedelta(seconds=5)
# A server that is there accepts at once, also across oceans.
READ_TIMEOUT = timedelta(seconds=120)
# Between two pieces; a local model may load its weights or read a long prompt before the first.
PROBE_TIMEOUT = timedelta(seconds=10)
# A list of names needs no model.
MAX_RETRY_AFTER = timedelta(hours=1)
# What a server asks for beyond this is more likely a mistake.
MAX_ERROR_BYTES = 65_536
LATER = frozenset({408, 425, 429})
# Refusals that time heals, beside the server's own errors.
UNAUTHENTICATED = 401
SERVER_ERROR = 500
LOOPBACK = ("127.0.0.1", "[::1]", "localhost")


class OpenAICompatibleModel:
    """The model that the server at `base_url` (`http://host:port/v1`) knows as `name`.

    A server on this machine is reached directly, whatever proxy the environment names.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        api_key: str | None,
        connect_timeout: timedelta = CONNECT_TIMEOUT,
        read_timeout: timedelta = READ_TIMEOUT,
    ) -> None:
        self._name = name
        self._base_url = base_url.rstrip("/")
        self._api_key = api_key
        self._probe_s = min(read_timeout, PROBE_TIMEOUT).total_seconds()
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx.Timeout(
                read_timeout.total_seconds(), connect=connect_timeout.total_seconds()
            ),
            mounts={f"all://{host}": None for host in LOOPBACK},
        )

    @property
    def name(self) -> str:
        return self._name

    async def answer(self, request: ModelRequest) -> AsyncGenerator[ModelText | ModelAnswer, None]:
        used = frozenset(call.call_id for said in request.messages for call in said.tool_calls)
        decoder = AnswerDecoder(self._name, self._api_key, used)
        post = self._client.build_request(
            "POST",
            f"{self._base_url}/chat/completions",
            content=encode_request(self._name, request),
            headers={"Content-Type": "application/json", "Accept": "text/event-stream"},
        )
        async with self._sent(post) as response:
            async for data in response.aiter_bytes():
                for piece in decoder.feed(data):
                    yield piece
                if decoder.ended:
                    break
        for last in decoder.finish():
            yield last

    async def probe(self) -> None:
        get = self._client.build_request(
            "GET", f"{self._base_url}/models", timeout=httpx.Timeout(self._probe_s)
        )
        async with self._sent(get):
            pass

    async def aclose(self) -> None:
        """End all connections; answers under way fail."""
        await self._client.aclose()

    @asynccontextmanager
    async def _sent(self, request: httpx.Request) -> AsyncIterator[httpx.Response]:
        """A response with status 2xx, open in the block only; every failure in domain terms."""
        try:
            response = await self._client.send(request, stream=True)
            try:
                if not response.is_success:
                    raise self._refusal(response, await _beginning(response))
                yield response
            finally:
                await response.aclose()
        except httpx.TimeoutException as error:
            raise self._unreached("did not answer in time") from error
        except httpx.ConnectError as error:
            raise self._unreached("cannot be reached") from error
        except httpx.HTTPError as error:
            raise self._unreached("broke the connection") from error

    def _unreached(self, what: str) -> ModelUnavailable:
        return ModelUnavailable(f"The server of model {self._name} {what}.", model=self._name)

    def _refusal(self, response: httpx.Response, body: bytes) -> ModelRefused | ModelUnavailable:
        """The failure that a status means; the server's words are cut short and hold no key."""
        status = response.status_code
        message = f"The server of model {self._name} answered {status}"
        # What is said of a wrong key often quotes parts of it.
        said = "" if status == UNAUTHENTICATED else _said(body, self._api_key)
        message += f": {said}" if said else "."
        if status in LATER or status >= SERVER_ERROR:
            return ModelUnavailable(
                message,
                retry_after=_retry_after(response),
                model=self._name,
                status=status,
            )
        return ModelRefused(message, model=self._name, status=status)


async def _beginning(response: httpx.Response) -> bytes:
    body = bytearray()
    async for data in response.aiter_bytes():
        body += data
        if len(body) > MAX_ERROR_BYTES:
            break
    return bytes(body)


def _said(body: bytes, secret: str | None) -> str:
    try:
        return error_text(msgspec.json.decode(body), secret)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return ""


def _retry_after(response: httpx.Response) -> timedelta | None:
    """The header's seconds; its other form, a date, is not used by such servers."""
    value = response.headers.get("Retry-After", "")
    if re.fullmatch(r"\d{1,9}", value) is None:
        return None
    return min(timedelta(seconds=int(value)), MAX_RETRY_AFTER)
