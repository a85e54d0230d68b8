"""The same answers as different servers send them: hand-written after their documented forms."""

import json
from typing import Any


def events(*chunks: Any, done: bool = True, newline: str = "\n", space: str = " ") -> bytes:
    """Server-sent events, one for each chunk."""
    lines = [json.dumps(chunk, ensure_ascii=False) for chunk in chunks] + ["[DONE]"] * done
    return "".join(f"data:{space}{line}{newline}{newline}" for line in lines).encode()


def delta(finish: str | None = None, **held: Any) -> dict[str, Any]:
    return {
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": held, "finish_reason": finish}],
    }


def call(
    index: int | None = 0,
    call_id: str | None = None,
    name: str | None = None,
    arguments: Any = None,
) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    piece = {"index": index, "id": call_id, "function": _given(function)}
    return delta(tool_calls=[_given(piece)])


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def usage(given: int, made: int) -> dict[str, Any]:
    return {"choices": [], "usage": {"prompt_tokens": given, "completion_tokens": made}}


OPENAI_TEXT = events(
    delta(role="assistant", content="", refusal=None),
    delta(content="Grüß "),
    delta(content="Gott"),
    delta(finish="stop"),
    usage(9, 3),
)
LLAMA_CPP_TEXT = events(
    delta(role="assistant", content=None),
    delta(reasoning_content="They greet me."),
    delta(content="Grüß "),
    delta(content="Gott"),
    {**delta(finish="stop"), "usage": {"prompt_tokens": 9, "completion_tokens": 3}, "timings": {}},
)
OLLAMA_TEXT = events(
    delta(role="assistant", content="Grüß "),
    delta(role="assistant", content="Gott"),
    delta(role="assistant", content="", finish="stop"),
    usage(9, 3),
    done=False,
)
VLLM_TEXT = b": ping\r\n\r\n" + events(
    {**delta(role="assistant", content=""), "usage": {"prompt_tokens": 9, "completion_tokens": 0}},
    {**delta(content="Grüß "), "usage": {"prompt_tokens": 9, "completion_tokens": 1}},
    {**delta(content="Gott"), "usage": {"prompt_tokens": 9, "completion_tokens": 2}},
    {**usage(9, 3)},
    newline="\r\n",
    space="",
)
UNSTREAMED_TEXT = json.dumps(
    {
        "choices": [
            {"message": {"role": "assistant", "content": "Grüß Gott"}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3},
    },
    indent=1,
).encode()
TEXTS = {
    "openai": OPENAI_TEXT,
    "llama.cpp": LLAMA_CPP_TEXT,
    "ollama": OLLAMA_TEXT,
    "vllm": VLLM_TEXT,
    "unstreamed": UNSTREAMED_TEXT,
}

OPENAI_CALLS = events(
    delta(role="assistant", content=None),
    call(0, "call_a", "time__now", ""),
    call(0, arguments='{"zone"'),
    call(0, arguments=': "UTC"}'),
    call(1, "call_b", "time__now", ""),
    call(1, arguments="{}"),
    delta(finish="tool_calls"),
)
LLAMA_CPP_CALLS = events(
    call(0, "x", "time__now", '{"zone":"U'),
    call(0, arguments='TC"}'),
    call(1, "x", "time__now", "{}"),
    delta(finish="tool_calls"),
)
OLLAMA_CALLS = events(
    call(0, "call_1", "time__now", '{"zone":"UTC"}'),
    call(0, "call_2", "time__now", "{}"),
    delta(finish="stop", content=""),
)
OBJECT_CALLS = events(
    call(None, None, "time__now", {"zone": "UTC"}),
    call(None, None, "time__now", {}),
    done=True,
)
SAME_ID_CALLS = events(
    call(0, "call_0", "time__now", '{"zone":"UTC"}'),
    call(0, "call_0", "time__now", "{}"),
)
VLLM_CALLS = events(
    call(0, "t1", "time__now"),
    call(0, "t1", "time__now", '{"zone":'),
    call(0, "t1", "time__now", ' "UTC"}'),
    call(1, "t2", "time__now", "null"),
    delta(finish="tool_calls"),
    newline="\r\n",
)
CALLS = {
    "openai": OPENAI_CALLS,
    "llama.cpp": LLAMA_CPP_CALLS,
    "ollama": OLLAMA_CALLS,
    "objects": OBJECT_CALLS,
    "one id": SAME_ID_CALLS,
    "vllm": VLLM_CALLS,
}
