"""Requests as servers expect them, and answers as servers really send them."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.llm.wire import MAX_ANSWER_BYTES, AnswerDecoder, encode_request, error_text
from domain.model.conversations import Message, Role, ToolCall
from domain.ports.models import ModelAnswer, ModelRequest, ModelText, ModelUnavailable, Usage
from tests.contracts.models import NOW, WISHED
from tests.llm.dialects import CALLS, TEXTS, call, delta, events, usage

SECRET = "sk-very-secret"


def decoded(*parts: bytes, used: frozenset[str] = frozenset()) -> tuple[str, ModelAnswer]:
    """The pieces' text and the answer."""
    decoder = AnswerDecoder("small-model", SECRET, used)
    pieces: list[ModelText | ModelAnswer] = []
    for part in parts:
        pieces.extend(decoder.feed(part))
    *texts, answer = [*pieces, *decoder.finish()]
    assert isinstance(answer, ModelAnswer)
    return "".join(text.text for text in texts if isinstance(text, ModelText)), answer


def called(answer: ModelAnswer) -> tuple[tuple[str, object], ...]:
    return tuple((one.name, one.arguments) for one in answer.tool_calls)


@pytest.mark.parametrize("dialect", TEXTS)
def test_every_dialect_of_text_reads_the_same(dialect: str) -> None:
    text, answer = decoded(TEXTS[dialect])
    assert text == "Grüß Gott"
    assert answer == ModelAnswer(text=text, usage=Usage(input_tokens=9, output_tokens=3))


@given(st.sampled_from([*TEXTS.values(), *CALLS.values()]), st.lists(st.integers(0, 900)))
def test_where_the_bytes_are_cut_does_not_matter(body: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    parts = [body[begin:end] for begin, end in pairwise(edges)]
    assert decoded(*parts) == decoded(body)


@pytest.mark.parametrize("dialect", CALLS)
def test_every_dialect_of_calls_reads_the_same(dialect: str) -> None:
    _, answer = decoded(CALLS[dialect])
    assert called(answer) == WISHED
    assert len({one.call_id for one in answer.tool_calls}) == len(WISHED)


def test_ids_of_the_server_are_kept_where_they_are_unique() -> None:
    _, answer = decoded(CALLS["openai"])
    assert [one.call_id for one in answer.tool_calls] == ["call_a", "call_b"]


def test_ids_that_the_conversation_already_has_are_not_given_again() -> None:
    used = frozenset({"call_a", "call_1"})
    _, answer = decoded(CALLS["openai"], used=used)
    assert not used & {one.call_id for one in answer.tool_calls}


def test_pieces_of_calls_may_alternate() -> None:
    body = events(
        call(0, "a", "time__now", '{"zone":'),
        call(0, "b", "time__now", "{"),
        call(0, "a", None, '"UTC"}'),
        call(0, "b", None, "}"),
    )
    assert called(decoded(body)[1]) == WISHED


def test_calls_that_share_an_index_and_have_no_ids_differ_by_name() -> None:
    body = events(call(0, None, "one"), call(0, None, "two"), call(0, None, "two", ""))
    assert called(decoded(body)[1]) == (("one", {}), ("two", {}))


def test_a_call_may_come_whole_in_an_answer_that_is_not_streamed() -> None:
    message = {
        "content": None,
        "tool_calls": [{"function": {"name": "one", "arguments": {"a": 1}}}],
    }
    body = json.dumps({"choices": [{"message": message}]}).encode()
    assert called(decoded(body)[1]) == (("one", {"a": 1}),)


@pytest.mark.parametrize("written", ["{", "[1]", '"text"', "{} {}"])
def test_arguments_that_are_no_object_name_the_tool(written: str) -> None:
    with pytest.raises(ModelUnavailable, match="broken__tool") as raised:
        decoded(events(call(0, "a", "broken__tool", written)))
    assert written not in raised.value.message


def test_a_call_without_a_name_is_not_a_call() -> None:
    with pytest.raises(ModelUnavailable, match="without a name"):
        decoded(events(call(0, "a", None, "{}")))


def test_an_event_may_be_spread_over_several_data_lines() -> None:
    body = b'data: {"choices": [{"delta":\ndata: {"content": "Hi"}}]}\n\ndata: [DONE]\n\n'
    assert decoded(body)[0] == "Hi"


def test_counts_are_optional_and_the_last_one_counts() -> None:
    assert decoded(events(delta(content="Hi")))[1].usage == Usage()
    twice = events(usage(1, 1), delta(content="Hi"), usage(5, 7))
    assert decoded(twice)[1].usage == Usage(input_tokens=5, output_tokens=7)


def test_nothing_after_the_end_is_read() -> None:
    assert decoded(events(delta(content="Hi")) + b"data: rubbish\n\n")[0] == "Hi"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n\n",
        b"<html>Not here</html>",
        b'{"choices": [',
        b"{}",
        b"data: {\n\n",
        b"data: [1]\n\n",
        b'data: {"error": ' + b"[" * 100_000,
        b'{"error": ' + b"[" * 100_000,
        events(call(0, "a", "deep", '{"a": ' + "[" * 100_000)),
        b'data: {"choices": 5}\n\n',
        b'data: {"choices": [{"delta": {"content": "\xff"}}]}\n\ndata: [DONE]\n\n',
        events(delta(content="Hel"), done=False),
        events(delta(content="Hello", finish="stop"))[:-30],
    ],
)
def test_what_is_no_whole_answer_is_unavailable(body: bytes) -> None:
    with pytest.raises(ModelUnavailable, match="small-model"):
        decoded(body)


@pytest.mark.parametrize(
    "body",
    [
        events({"error": {"message": f"out of memory {SECRET}", "code": 500}}),
        b'error: {"code":500,"message":"out of memory sk-very-secret"}\n\n',
        b'{"error":"out of memory sk-very-secret"}',
    ],
)
def test_a_failure_in_mid_answer_is_told_without_the_key(body: bytes) -> None:
    with pytest.raises(ModelUnavailable, match="out of memory") as raised:
        decoded(body)
    assert SECRET not in raised.value.message


def test_an_endless_answer_is_given_up() -> None:
    with pytest.raises(ModelUnavailable, match="longer than"):
        decoded(*[b"x" * (MAX_ANSWER_BYTES // 4)] * 5)


@given(st.binary())
def test_any_bytes_are_an_answer_or_unavailable(body: bytes) -> None:
    try:
        decoded(b"data: " + body)
    except ModelUnavailable as failure:
        assert failure.message.startswith("The answer")  # noqa: PT017 - both ends are right


def test_a_request_holds_all_of_the_history() -> None:
    wish = ToolCall(call_id="a", name="time__now", arguments={"zone": "UTC"})
    request = ModelRequest(
        instructions="Be brief.",
        messages=(
            Message(role=Role.USER, text="What time is it?"),
            Message(role=Role.ASSISTANT, tool_calls=(wish,)),
            Message(role=Role.TOOL, text="noon", call_id="a"),
        ),
        tools=(NOW,),
    )
    body = json.loads(encode_request("small-model", request))
    system, user, assistant, tool = body["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    assert user == {"role": "user", "content": "What time is it?"}
    function = assistant["tool_calls"][0].pop("function")
    assert assistant == {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "a", "type": "function"}],
    }
    assert (function["name"], json.loads(function["arguments"])) == ("time__now", {"zone": "UTC"})
    assert tool == {"role": "tool", "content": "noon", "tool_call_id": "a"}
    assert body["tools"][0]["function"]["name"] == "time__now"
    assert body["tools"][0]["function"]["parameters"] == {"type": "object"}
    assert (body["model"], body["stream"]) == ("small-model", True)
    assert body["stream_options"] == {"include_usage": True}


def test_without_tools_and_instructions_neither_is_sent() -> None:
    request = ModelRequest(instructions="", messages=(Message(role=Role.USER, text="Hi"),))
    body = json.loads(encode_request("small-model", request))
    assert "tools" not in body
    assert [message["role"] for message in body["messages"]] == ["user"]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"error": {"message": "no  such\nmodel"}}, "no such model"),
        ({"error": "no such model"}, "no such model"),
        ({"object": "error", "message": "no such model"}, "no such model"),
        ({"error": {"message": f"key {SECRET} is wrong"}}, "key *** is wrong"),
        ({"error": {"message": "x" * 900}}, "x" * 200),
        ({"error": {"message": 5}}, ""),
        ([], ""),
        (None, ""),
    ],
)
def test_a_server_s_words_are_cut_short(body: object, text: str) -> None:
    assert error_text(body, SECRET) == text
