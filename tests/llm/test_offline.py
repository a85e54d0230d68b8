"""What the system answers without a language model."""

import pytest

from adapters.inmemory.model import ScriptedLanguageModel
from adapters.llm.offline import OfflineModel
from domain.model.conversations import Message, Role
from domain.ports.models import (
    ModelAnswer,
    ModelRefused,
    ModelRequest,
    ModelUnavailable,
    ToolOffer,
    Usage,
)
from tests.contracts.models import CALL, NOW, SPEAK, heard

pytestmark = pytest.mark.anyio


def asked(text: str, *after: Message, tools: tuple[ToolOffer, ...] = (NOW,)) -> ModelRequest:
    messages = (
        Message(role=Role.USER, text="/tool time__now"),
        Message(role=Role.ASSISTANT, text="An earlier answer."),
        Message(role=Role.USER, text=text),
        *after,
    )
    return ModelRequest(instructions="", messages=messages, tools=tools)


async def answer(request: ModelRequest) -> ModelAnswer:
    return (await heard(OfflineModel(), request))[1]


async def test_it_says_that_it_is_no_model_and_how_to_get_one() -> None:
    texts, said = await heard(OfflineModel(), SPEAK)
    assert len(texts) > 1
    for word in ("No language model", "SUTAZAI_LLM_BASE_URL", "SUTAZAI_LLM_MODEL", "/tool"):
        assert word in said.text
    assert "time__now" in said.text
    assert said.usage == Usage()
    assert OfflineModel().name == "offline"


async def test_it_lists_ten_tools_and_counts_the_others() -> None:
    tools = tuple(
        ToolOffer(name=f"s__t{number:02}", description="", parameters={}) for number in range(12)
    )
    text = (await answer(asked("Hello", tools=tools))).text
    assert "s__t09" in text
    assert "s__t10" not in text
    assert "2 more" in text


async def test_results_become_the_answer_under_their_tools_names() -> None:
    wishes = await answer(CALL)
    first, second = (call.call_id for call in wishes.tool_calls)
    request = ModelRequest(
        instructions="",
        messages=(
            *CALL.messages,
            Message(role=Role.ASSISTANT, tool_calls=wishes.tool_calls),
            Message(role=Role.TOOL, text="noon", call_id=first),
            Message(role=Role.TOOL, text="no clock", call_id=second, is_error=True),
        ),
    )
    said = await answer(request)
    assert said.text == "time__now:\nnoon\n\ntime__now failed:\nno clock"
    assert said.tool_calls == ()


async def test_only_the_last_message_of_the_user_is_obeyed() -> None:
    assert (await answer(asked("Hello"))).tool_calls == ()


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("/tool", "needs the full name"),
        ("/tool no__such {}", "No tool named no__such"),
        ('/tool time__now {"zone": ', "not valid JSON"),
        ("/tool time__now [1]", "must be a JSON object"),
        ("/tool time__now null", "must be a JSON object"),
        ('/tool time__now {"a": ' + "[" * 100_000, "not valid JSON"),
    ],
)
async def test_a_wrong_line_is_named_and_the_other_lines_go(line: str, complaint: str) -> None:
    said = await answer(asked(f"Please:\r\n{line}\r\n  /tool time__now\r\n/toolbox"))
    assert complaint in said.text
    assert [(call.name, call.arguments) for call in said.tool_calls] == [("time__now", {})]


async def test_a_request_without_messages_gets_an_answer_too() -> None:
    assert (await answer(ModelRequest(instructions="", messages=()))).text


async def test_a_script_is_followed_in_order_and_ends() -> None:
    refused = ModelRefused("No.")
    model = ScriptedLanguageModel([refused, ModelAnswer(text="Yes")], probe_failure=refused)
    with pytest.raises(ModelRefused):
        await heard(model, SPEAK)
    assert await heard(model, CALL) == (("Y", "es"), ModelAnswer(text="Yes"))
    with pytest.raises(ModelUnavailable):
        await heard(model, SPEAK)
    assert model.requests == [SPEAK, CALL, SPEAK]
    with pytest.raises(ModelRefused):
        await model.probe()
