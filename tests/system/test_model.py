"""Chat through the whole system with a language model's server, its faults included."""

import asyncio
import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.llm.peer import Act, Peer, Reply, Seen, head, peer, stream
from tests.system.conftest import Make
from tests.system.running import System, eventually

KEY = "hush-hush"


def event(**delta: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": delta}]}).encode() + b"\n\n"


STOP = (
    b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2}}\n\ndata: [DONE]\n\n'
)
HELLO = stream(event(content="Hello ") + event(content="you") + STOP)
SILENT = stream(event(content="Hello "), Act.SILENCE, piece=4096)
BROKEN = stream(event(content="Hello ") + b'data: {"error":{"message":"overloaded"}}\n\n')
LISTED = [head(200, Content_Length="11"), b'{"data":[]}']


def wish(tool: str, arguments: str) -> Reply:
    function = {"name": tool, "arguments": arguments}
    return stream(event(tool_calls=[{"index": 0, "id": "c", "function": function}]) + STOP)


class Model:
    """A model's server whose next answers a test sets; it lives in a thread of its own."""

    def __init__(self) -> None:
        self.answers: Callable[[Any], Reply] = lambda _request: HELLO
        self.requests: list[Any] = []
        self.peer: Peer

    def reply(self, seen: Seen) -> Reply:
        if seen.line.startswith("GET"):
            return LISTED
        self.requests.append(seen.json())
        return self.answers(seen.json())

    @contextmanager
    def running(self) -> Iterator[None]:
        ready, loop = threading.Event(), asyncio.new_event_loop()
        end = asyncio.Event()

        async def serve() -> None:
            async with peer(self.reply) as self.peer:
                ready.set()
                await end.wait()

        thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
        thread.start()
        try:
            assert ready.wait(10)
            yield
        finally:
            loop.call_soon_threadsafe(end.set)
            thread.join(10)
            loop.close()


@pytest.fixture
def model() -> Iterator[Model]:
    made = Model()
    with made.running():
        yield made


@pytest.fixture
def system(make: Make, model: Model) -> System:
    settings = {"llm_base_url": model.peer.base_url, "llm_model": "m", "llm_api_key": KEY}
    system = make(**settings).start()
    system.until_ready("sutazai")
    return system


def begun(system: System) -> str:
    """The task of a chat whose first text came; its client has left by then."""
    body = {"message": "Hello"}
    with system.client.stream("POST", "/api/v1/chat/stream", json=body) as answer:
        task_id = ""
        for line in answer.iter_lines():
            data = json.loads(line[6:]) if line.startswith("data: ") else {}
            task_id = str(data.get("task_id", task_id))
            if data.get("text"):
                return task_id
    raise AssertionError


def test_an_answer_and_its_cost_come_through(system: System) -> None:
    answer = system.post("/api/v1/chat", {"message": "Hello"})

    assert (answer["response"], answer["model"]) == ("Hello you", "m")
    assert answer["usage"] == {"input_tokens": 5, "output_tokens": 2}
    assert system.get("/health")["services"]["models"] == "healthy"


def test_the_model_sees_what_its_tool_gave(system: System, model: Model) -> None:
    def answers(request: Any) -> Reply:
        asked = request["messages"][-1]["role"] == "user"
        return wish("sutazai__echo", '{"text": "echoed"}') if asked else HELLO

    model.answers = answers
    answer = system.post("/api/v1/chat", {"message": "Hello"})

    assert [call["tool"] for call in answer["tool_calls"]] == ["echo"]
    assert model.requests[-1]["messages"][-1] == {
        "role": "tool",
        "content": "echoed",
        "tool_call_id": "c",
    }


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (BROKEN, 503),
        (stream(event(content="Hello "), Act.CUT), 503),
        ([head(500), b'{"error":{"message":"boom hush-hush"}}'], 503),
        ([head(400), b'{"error":{"message":"bad"}}'], 502),
    ],
)
def test_a_failing_model_is_a_problem_that_says_so(
    system: System, model: Model, reply: Reply, status: int
) -> None:
    model.answers = lambda _request: reply
    answer = system.client.post("/api/v1/chat", json={"message": "Hello"})
    streamed = system.client.post("/api/v1/chat/stream", json={"message": "Hello"}).text

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert "model m" in answer.json()["detail"]
    assert streamed.count("event: error") == 1
    assert "event: done" not in streamed
    assert KEY not in answer.text + streamed + system.log
    assert len(model.requests) == 2


def test_the_turn_goes_on_without_its_client_until_it_is_cancelled(
    system: System, model: Model
) -> None:
    model.answers = lambda _request: SILENT
    task_id = begun(system)
    assert system.get(f"/api/v1/tasks/{task_id}")["status"] == "running"

    system.post(f"/api/v1/tasks/{task_id}/cancel", status=202)

    eventually(lambda: system.get(f"/api/v1/tasks/{task_id}")["status"] == "cancelled", 3)
    eventually(model.peer.left.is_set, 3)


def test_a_turn_whose_system_was_killed_is_answered_by_the_next(
    system: System, model: Model
) -> None:
    model.answers = lambda _request: SILENT
    task_id = begun(system)
    system.end(signal.SIGKILL)
    model.answers = lambda _request: HELLO
    system.start()

    task = system.finished(task_id)

    assert (task["status"], task["attempt"]) == ("succeeded", 2)
    conversation = system.get(f"/api/v1/conversations/{task['conversation_id']}")
    assert [said["text"] for said in conversation["messages"]] == ["Hello", "Hello you"]


def test_a_call_under_way_when_its_system_was_drained_is_not_repeated(
    make: Make, model: Model
) -> None:
    """The tool `wait` leaves open whether it may be repeated."""
    system = make(llm_base_url=model.peer.base_url, llm_model="m", drain_s="0.2").start()
    system.until_ready("sutazai")
    model.answers = lambda _request: wish("sutazai__wait", '{"seconds": 30}')
    payload = {"agent": "general-assistant", "message": "Wait."}
    body = {"task_type": "agent", "payload": payload}
    task_id = system.post("/api/v1/tasks", body, status=201)["task_id"]
    eventually(lambda: system.get(f"/api/v1/tasks/{task_id}").get("progress"))
    assert system.end() == 0
    system.start()

    task = system.finished(task_id)

    assert (task["status"], task["error"]["reason"]) == ("failed", "indeterminate")
    assert len(model.requests) == 1
