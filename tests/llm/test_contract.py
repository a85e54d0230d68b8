"""The offline model, the twin and the HTTP client keep the port's contract."""

from collections.abc import AsyncIterator

import pytest

from adapters.inmemory.model import ScriptedLanguageModel
from adapters.llm.client import OpenAICompatibleModel
from adapters.llm.offline import OfflineModel
from domain.model.conversations import ToolCall
from domain.ports.models import LanguageModel, ModelAnswer
from tests.contracts.models import WISHED, ModelContract
from tests.llm import dialects
from tests.llm.peer import Reply, Seen, head, peer, stream

pytestmark = pytest.mark.anyio


class TestOfflineModel(ModelContract):
    @pytest.fixture
    def speaking(self) -> LanguageModel:
        return OfflineModel()

    @pytest.fixture
    def calling(self) -> LanguageModel:
        return OfflineModel()


class TestScriptedLanguageModel(ModelContract):
    @pytest.fixture
    def speaking(self) -> LanguageModel:
        return ScriptedLanguageModel([ModelAnswer(text="Hello, you.")] * 2)

    @pytest.fixture
    def calling(self) -> LanguageModel:
        calls = tuple(
            ToolCall(call_id=str(number), name=name, arguments=arguments)
            for number, (name, arguments) in enumerate(WISHED)
        )
        return ScriptedLanguageModel([ModelAnswer(text="", tool_calls=calls)])


async def _client(body: bytes) -> AsyncIterator[LanguageModel]:
    def reply(request: Seen) -> Reply:
        return [head(200), b"{}"] if request.line.startswith("GET") else stream(body)

    async with peer(reply) as playing:
        model = OpenAICompatibleModel("small-model", playing.base_url, None)
        yield model
        await model.aclose()


class TestOpenAICompatibleModel(ModelContract):
    @pytest.fixture(params=[name for name in dialects.TEXTS if name != "unstreamed"])
    async def speaking(self, request: pytest.FixtureRequest) -> AsyncIterator[LanguageModel]:
        async for model in _client(dialects.TEXTS[request.param]):
            yield model

    @pytest.fixture(params=dialects.CALLS)
    async def calling(self, request: pytest.FixtureRequest) -> AsyncIterator[LanguageModel]:
        async for model in _client(dialects.CALLS[request.param]):
            yield model
