"""The client over real connections, the faults of real servers included."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta

import pytest

from adapters.llm.client import OpenAICompatibleModel
from domain.ports.models import ModelRefused, ModelText, ModelUnavailable
from tests.contracts.models import SPEAK, heard
from tests.llm.dialects import OPENAI_TEXT, UNSTREAMED_TEXT, delta, events
from tests.llm.peer import Act, Peer, Reply, head, peer, stream

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(20)]

KEY = "sk-very-secret"
BEGUN = events(delta(content="Hel"), done=False)


@asynccontextmanager
async def playing(
    reply: Reply, key: str | None = KEY, read_timeout: timedelta = timedelta(seconds=10)
) -> AsyncIterator[tuple[OpenAICompatibleModel, Peer]]:
    async with peer(reply) as other:
        model = OpenAICompatibleModel("small-model", other.base_url, key, read_timeout=read_timeout)
        try:
            yield model, other
        finally:
            await model.aclose()


async def test_the_key_goes_into_its_header_and_the_request_to_its_place() -> None:
    async with playing(stream(OPENAI_TEXT)) as (model, other):
        await heard(model, SPEAK)
    assert other.seen[0].line == "POST /v1/chat/completions HTTP/1.1"
    assert other.seen[0].headers["authorization"] == f"Bearer {KEY}"
    assert other.seen[0].json()["model"] == "small-model"


async def test_without_a_key_no_header_is_sent() -> None:
    async with playing(stream(OPENAI_TEXT), key=None) as (model, other):
        await heard(model, SPEAK)
    assert "authorization" not in other.seen[0].headers


async def test_an_answer_that_is_not_streamed_is_read_too() -> None:
    reply = [head(200, Content_Length=str(len(UNSTREAMED_TEXT))), UNSTREAMED_TEXT]
    async with playing(reply) as (model, _):
        assert (await heard(model, SPEAK))[1].text == "Grüß Gott"


async def test_an_answer_is_over_at_done_even_if_the_server_stays() -> None:
    async with playing(stream(OPENAI_TEXT, Act.SILENCE)) as (model, other):
        assert (await heard(model, SPEAK))[1].text == "Grüß Gott"
        await other.left.wait()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_a_request_that_is_wrong_is_refused(status: int) -> None:
    body = b'{"error": {"message": "the key sk-very-secret or the model is wrong"}}'
    async with playing([head(status), body]) as (model, _):
        with pytest.raises(ModelRefused, match=f"small-model answered {status}") as raised:
            await heard(model, SPEAK)
        with pytest.raises(ModelRefused):
            await model.probe()
    assert KEY not in raised.value.message
    assert raised.value.details == {"model": "small-model", "status": status}
    assert ("is wrong" in raised.value.message) is (status != 401)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
async def test_a_server_in_trouble_is_unavailable(status: int) -> None:
    async with playing([head(status, "text/html"), b"<html>sorry</html>"]) as (model, _):
        with pytest.raises(ModelUnavailable, match=f"answered {status}") as raised:
            await heard(model, SPEAK)
        with pytest.raises(ModelUnavailable):
            await model.probe()
    assert "sorry" not in raised.value.message
    assert raised.value.retry_after is None


@pytest.mark.parametrize(
    ("header", "after"),
    [
        ("7", timedelta(seconds=7)),
        ("999999999", timedelta(hours=1)),
        ("-1", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
    ],
)
async def test_an_overloaded_server_says_when_to_come_back(
    header: str, after: timedelta | None
) -> None:
    async with playing([head(429, Retry_After=header), b"{}"]) as (model, _):
        with pytest.raises(ModelUnavailable) as raised:
            await heard(model, SPEAK)
    assert raised.value.retry_after == after


async def test_nobody_at_the_address_is_unavailable() -> None:
    async with peer([]) as other:
        address = other.base_url
    model = OpenAICompatibleModel("small-model", address, KEY)
    with pytest.raises(ModelUnavailable, match="cannot be reached"):
        await heard(model, SPEAK)
    with pytest.raises(ModelUnavailable, match="cannot be reached"):
        await model.probe()
    await model.aclose()


@pytest.mark.parametrize(
    "reply",
    [
        [],
        [b"SSH-2.0-OpenSSH\r\n"],
        [head(200, "text/event-stream", Content_Length="9000"), BEGUN],
        stream(BEGUN, Act.CUT),
    ],
)
async def test_a_connection_that_breaks_is_unavailable(reply: Reply) -> None:
    async with playing(reply) as (model, _):
        with pytest.raises(ModelUnavailable, match="broke the connection"):
            await heard(model, SPEAK)


async def test_a_stream_that_ends_early_is_unavailable_after_its_pieces() -> None:
    async with playing(stream(BEGUN)) as (model, _), aclosing(model.answer(SPEAK)) as pieces:
        assert await anext(pieces) == ModelText(text="Hel")
        with pytest.raises(ModelUnavailable, match="broke off"):
            await anext(pieces)


@pytest.mark.parametrize("reply", [[Act.SILENCE], stream(BEGUN, Act.SILENCE)])
async def test_silence_is_unavailable_and_hung_up_on(reply: Reply) -> None:
    short = timedelta(milliseconds=50)
    async with playing(reply, read_timeout=short) as (model, other):
        with pytest.raises(ModelUnavailable, match="in time"):
            await heard(model, SPEAK)
        await other.left.wait()


async def test_leaving_an_answer_ends_it_at_the_server() -> None:
    async with playing(stream(BEGUN, Act.SILENCE)) as (model, other):
        async with aclosing(model.answer(SPEAK)) as pieces:
            await anext(pieces)
        await other.left.wait()


async def test_cancelling_an_answer_ends_it_at_the_server() -> None:
    begun = asyncio.Event()

    async def listen(model: OpenAICompatibleModel) -> None:
        async with aclosing(model.answer(SPEAK)) as pieces:
            async for _ in pieces:
                begun.set()

    async with playing(stream(BEGUN, Act.SILENCE)) as (model, other):
        listening = asyncio.create_task(listen(model))
        await begun.wait()
        listening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await listening
        await other.left.wait()


async def test_a_probe_asks_for_the_models_only() -> None:
    async with playing([head(200), b'{"data": []}']) as (model, other):
        await model.probe()
    assert [seen.line for seen in other.seen] == ["GET /v1/models HTTP/1.1"]
