"""Calls through the service: what is checked before, what is sent, and what comes of an answer."""

import asyncio
import json
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from domain.errors import Forbidden, Invalid
from domain.model.callers import LOCAL, Caller, CallerId
from domain.model.servers import ServerDown, ServerNotFound, ServerState
from domain.model.tools import (
    AnswerMalformed,
    ArgumentsInvalid,
    CallInterrupted,
    CallTimedOut,
    PeerRefused,
    ToolNotFound,
)
from domain.orchestration.forwarding import MethodNotAllowed
from tests.domain.toys import ECHO, SOON, Toy, World, spec, until, world

pytestmark = pytest.mark.anyio

State = ServerState
BRIEF = timedelta(milliseconds=50)


async def execute(here: World, method: str, timeout: timedelta = SOON, **params: Any) -> Any:  # noqa: ASYNC109
    answer = await here.mcp.execute(LOCAL, "toy", method, params, timeout=timeout)
    return json.loads(bytes(answer))


async def test_the_answer_is_handed_on_as_it_came() -> None:
    toy = Toy("odd")
    toy.answers["odd"] = {"content": [{"type": "strange"}], "structuredContent": 5, "isError": True}
    async with world(toy) as here:
        echoed = await here.call(n=4)
        assert json.loads(bytes(echoed.content)) == [{"type": "text", "text": '{"n": 4}'}]
        assert (echoed.structured_content, echoed.is_error) == (None, False)
        odd = await here.call("odd")
        assert odd.structured_content is not None
        assert bytes(odd.structured_content) == b"5"
        assert odd.is_error
        assert json.loads(bytes(odd.content)) == [{"type": "strange"}]


async def test_wrong_arguments_are_refused_before_anything_is_sent() -> None:
    toy = Toy()
    async with world(toy) as here:
        await here.call()
        with pytest.raises(ArgumentsInvalid) as caught:
            await here.call(n="four")
        assert caught.value.details["path"] == "/n"
        assert len(toy.methods("tools/call")) == 1


async def test_a_caller_without_the_right_reaches_no_server() -> None:
    nobody = Caller(id=CallerId("nobody"), scopes=frozenset())
    toy = Toy()
    async with world(toy) as here:
        with pytest.raises(Forbidden):
            await here.mcp.call_tool(nobody, "toy", "echo", {}, timeout=SOON)
        with pytest.raises(Forbidden):
            await here.mcp.execute(nobody, "toy", "ping", {}, timeout=SOON)
        assert here.record().state is State.IDLE


async def test_an_unknown_server_and_an_unknown_tool_are_told_apart() -> None:
    async with world(Toy()) as here:
        with pytest.raises(ServerNotFound):
            await here.call(server="nobody")
        with pytest.raises(ToolNotFound):
            await here.call("nothing")
        with pytest.raises(ToolNotFound):
            here.mcp.find("toy__nothing")
        assert here.mcp.find("toy__echo").definition == ECHO


async def test_a_tool_of_a_starting_server_is_waited_for() -> None:
    toy = Toy("late")
    toy.gate.clear()
    async with world(toy) as here:
        calling = asyncio.create_task(here.call("late"))
        missing = asyncio.create_task(here.call("missing"))
        await here.reaches(State.STARTING)
        toy.gate.set()
        assert not (await calling).is_error
        with pytest.raises(ToolNotFound):
            await missing


async def test_calls_of_a_dying_server_end_at_once_as_interrupted() -> None:
    toy = Toy("hold")
    async with world(toy) as here:
        held = [asyncio.create_task(here.call("hold", timeout=SOON)) for _ in range(20)]
        await until(lambda: len(toy.methods("tools/call")) == 20)
        here.children[-1].kill()
        async with asyncio.timeout(0.5):
            outcomes = await asyncio.gather(*held, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {CallInterrupted}


async def test_a_tool_that_ends_its_server_interrupts_its_call() -> None:
    async with world(Toy("die")) as here:
        with pytest.raises(CallInterrupted):
            await here.call("die")
        record = await here.reaches(State.BACKING_OFF)
        assert record.reason == "the process exited with code 3"


async def test_a_call_between_the_end_of_a_session_and_its_notice_fails_at_once() -> None:
    toy = Toy()
    toy.deaf = True
    async with world(toy) as here:
        await here.call()
        sole = here.fleet.group("toy").sole
        assert sole is not None
        session = sole.session
        assert session is not None
        here.children[-1].peer.close_output()
        await session.wait_closed()
        assert here.record().state is State.READY
        with pytest.raises(ServerDown, match="is ending"):
            await here.call()
        toy.deaf = False


async def test_a_late_answer_is_a_timeout_and_the_server_is_told_once() -> None:
    toy = Toy("hold")
    async with world(toy) as here:
        with pytest.raises(CallTimedOut):
            await here.call("hold", timeout=BRIEF)
        await until(lambda: toy.methods("notifications/cancelled"))
        await here.call()
        (call,) = [m for m in toy.methods("tools/call") if m["params"]["name"] == "hold"]
        (told,) = toy.methods("notifications/cancelled")
        assert told["params"]["requestId"] == call["id"]


async def test_callers_who_leave_send_one_cancellation_each() -> None:
    toy = Toy("hold")
    async with world(toy) as here:
        held = [asyncio.create_task(here.call("hold")) for _ in range(50)]
        await until(lambda: len(toy.methods("tools/call")) == 50)
        for call in held:
            call.cancel()
        await asyncio.wait(held)
        await here.call()
        told = [m["params"]["requestId"] for m in toy.methods("notifications/cancelled")]
        calls = [m["id"] for m in toy.methods("tools/call")][:-1]
        assert sorted(told) == sorted(calls)
        assert here.mcp.traffic()[spec().name][0].in_flight == 0


@pytest.mark.parametrize(
    "answer", [5, [], "text", {"content": [], "isError": "no"}, {"content": 5}, {"content": None}]
)
async def test_an_answer_that_is_no_tool_result_is_malformed(answer: object) -> None:
    toy = Toy("odd", era="legacy")
    toy.answers["odd"] = answer
    async with world(toy) as here:
        with pytest.raises(AnswerMalformed):
            await here.call("odd")
        await here.call()


@pytest.mark.parametrize("depth", [300, 600, 900, 990, 1200])
async def test_a_deep_answer_is_a_result_or_a_failure_of_its_call_alone(depth: int) -> None:
    class Deep(Toy):
        async def _take(self, peer: Any, message: dict[str, Any]) -> int | None:
            if message["method"] == "tools/call" and message["params"]["name"] == "odd":
                content = b"[" * depth + b"]" * depth
                head = b'{"jsonrpc":"2.0","id":%d,"result":{"content":' % message["id"]
                await peer.write(head + content + b"}}\n")
                return None
            return await super()._take(peer, message)

    async with world(Deep("odd")) as here:
        await here.call()
        with suppress(AnswerMalformed, CallTimedOut, PeerRefused):
            await here.call("odd", timeout=BRIEF)
        await here.call()


async def test_bytes_that_are_no_text_reach_the_caller_as_replacement_characters() -> None:
    class Binary(Toy):
        async def _take(self, peer: Any, message: dict[str, Any]) -> int | None:
            if message["method"] == "tools/call":
                head = b'{"jsonrpc":"2.0","id":%d,"result":{"content":[' % message["id"]
                await peer.write(head + b'{"type":"text","text":"\xff\xfe"}]}}\n')
                return None
            return await super()._take(peer, message)

    async with world(Binary()) as here:
        result = await here.call()
        assert json.loads(bytes(result.content)) == [{"type": "text", "text": "\ufffd\ufffd"}]
        answer = await execute(here, "tools/call", name="echo")
        assert answer["content"][0]["text"] == "\ufffd\ufffd"


async def test_only_the_named_methods_can_be_sent() -> None:
    toy = Toy()
    async with world(toy) as here:
        for method in (
            "initialize",
            "server/discover",
            "logging/setLevel",
            "resources/subscribe",
            "resources/unsubscribe",
            "notifications/cancelled",
            "subscriptions/listen",
            "tools",
            "",
        ):
            with pytest.raises(MethodNotAllowed):
                await execute(here, method)
        assert here.record().state is State.IDLE
        assert (await execute(here, "tools/list"))["tools"] == toy.tools
        with pytest.raises(PeerRefused) as refused:
            await execute(here, "resources/list")
        assert refused.value.code == -32601


async def test_a_ping_is_what_the_era_has_for_it() -> None:
    modern, legacy = Toy(), Toy(era="legacy")
    legacy.answers["ping"] = {}
    async with world(modern) as here:
        assert await execute(here, "ping") == {}
        assert len(modern.methods("server/discover")) == 2
    async with world(legacy) as here:
        assert await execute(here, "ping") == {}
        assert len(legacy.methods("ping")) == 1


async def test_a_call_by_execute_has_the_same_checks() -> None:
    toy = Toy()
    async with world(toy) as here:
        answer = await execute(here, "tools/call", name="echo", arguments={"n": 1})
        assert answer["content"][0]["text"] == '{"n": 1}'
        with pytest.raises(ArgumentsInvalid):
            await execute(here, "tools/call", name="echo", arguments={"n": "x"})
        with pytest.raises(ToolNotFound):
            await execute(here, "tools/call", name="nothing")
        for params in ({}, {"name": 5}, {"name": "echo", "arguments": []}):
            with pytest.raises(Invalid):
                await execute(here, "tools/call", **params)
        assert len(toy.methods("tools/call")) == 1


@pytest.mark.parametrize("meta", [5, None, "x", []])
async def test_a_meta_that_is_no_object_is_the_callers_fault(meta: object) -> None:
    async with world(Toy()) as here:
        with pytest.raises(Invalid, match="_meta"):
            await execute(here, "tools/list", _meta=meta)
        await here.call()
