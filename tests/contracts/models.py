"""What every language model does.

A binding gives the fixtures `speaking`, a model that answers SPEAK with some text, and `calling`,
one that answers CALL by wishing for WISHED, both as often as they are asked.
"""

from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

from domain.model.conversations import Message, Role
from domain.ports.models import (
    LanguageModel,
    ModelAnswer,
    ModelRequest,
    ModelText,
    ToolOffer,
)

NOW = ToolOffer(name="time__now", description="The time.", parameters={"type": "object"})
SPEAK = ModelRequest(
    instructions="Be brief.", messages=(Message(role=Role.USER, text="Hello"),), tools=(NOW,)
)
CALL = ModelRequest(
    instructions="",
    messages=(Message(role=Role.USER, text='/tool time__now {"zone": "UTC"}\n/tool time__now'),),
    tools=(NOW,),
)
WISHED: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("time__now", {"zone": "UTC"}),
    ("time__now", {}),
)


async def heard(model: LanguageModel, request: ModelRequest) -> tuple[tuple[str, ...], ModelAnswer]:
    """The pieces of text, and the one answer that ends them."""
    async with aclosing(model.answer(request)) as pieces:
        *texts, answer = [piece async for piece in pieces]
    assert isinstance(answer, ModelAnswer)
    assert all(isinstance(text, ModelText) for text in texts)
    return tuple(text.text for text in texts if isinstance(text, ModelText)), answer


class ModelContract:
    """Bind it by a subclass with the two fixtures."""

    async def test_pieces_of_text_come_first_and_the_answer_holds_all_of_them(
        self, speaking: LanguageModel
    ) -> None:
        texts, answer = await heard(speaking, SPEAK)
        assert answer.text == "".join(texts) != ""
        assert all(texts)
        assert answer.tool_calls == ()

    async def test_calls_come_in_order_with_unique_ids(self, calling: LanguageModel) -> None:
        _, answer = await heard(calling, CALL)
        assert tuple((call.name, call.arguments) for call in answer.tool_calls) == WISHED
        assert len({call.call_id for call in answer.tool_calls}) == len(WISHED)
        assert all(call.call_id for call in answer.tool_calls)

    async def test_it_may_be_asked_again(self, speaking: LanguageModel) -> None:
        first = await heard(speaking, SPEAK)
        assert await heard(speaking, SPEAK) == first

    async def test_an_answer_may_be_left_after_its_first_piece(
        self, speaking: LanguageModel
    ) -> None:
        async with aclosing(speaking.answer(SPEAK)) as pieces:
            assert isinstance(await anext(pieces), ModelText)
        assert (await heard(speaking, SPEAK))[1].text

    async def test_it_has_a_name_and_can_be_probed(self, speaking: LanguageModel) -> None:
        assert speaking.name
        await speaking.probe()
