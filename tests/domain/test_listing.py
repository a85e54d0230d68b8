"""What servers offer: listed, listed again, kept for the next life, and told apart by name."""

import asyncio
import logging
from typing import Any

import pytest

from adapters.schemas.compiler import JsonSchemaCompiler
from domain.model.callers import LOCAL
from domain.model.servers import Command, Origin, ServerName, ServerState, StartPolicy
from domain.orchestration.catalogue import Catalogue
from domain.orchestration.names import hashed_name
from domain.ports.schemas import ArgumentCheck
from tests.domain.toys import ECHO, Toy, spec, until, world

pytestmark = pytest.mark.anyio

State = ServerState
A, B = ServerName("a"), ServerName("b")


class CountingCompiler:
    """The real one, with a count."""

    def __init__(self) -> None:
        self.count = 0
        self._compile = JsonSchemaCompiler().compile

    def compile(self, schema: Any) -> ArgumentCheck:
        self.count += 1
        return self._compile(schema)


def named(*names: object) -> list[dict[str, Any]]:
    return [{"name": name} for name in names]


async def test_a_changed_list_is_on_offer_soon() -> None:
    toy = Toy(era="legacy")
    async with world(toy) as here:
        await here.call()
        toy.tools = [ECHO, {"name": "new"}]
        for _ in range(20):
            await toy.say({"method": "notifications/tools/list_changed"})
        await until(lambda: len(here.mcp.tools("toy")) == 2)
        assert not (await here.call("new")).is_error
        assert len(toy.methods("tools/list")) == 2
        toy.tools = []
        await toy.say({"method": "notifications/tools/list_changed"})
        await until(lambda: not here.mcp.tools("toy"))


async def test_a_list_that_fails_leaves_the_one_before() -> None:
    toy = Toy(era="legacy")
    async with world(toy) as here:
        await here.call()
        toy.tools = ["broken"]
        await toy.say({"method": "notifications/tools/list_changed"})
        await until(lambda: len(toy.methods("tools/list")) == 2)
        await here.call()
        assert here.record().state is State.READY
        toy.tools = [ECHO, {"name": "new"}]
        await toy.say({"method": "notifications/tools/list_changed"})
        await until(lambda: len(here.mcp.tools("toy")) == 2)


async def test_tools_are_known_in_the_next_life_before_the_server_starts() -> None:
    toy = Toy("more")
    async with world(toy) as here:
        await here.call()
        await here.again()
        assert here.record().state is State.IDLE
        assert [tool.name for tool in here.mcp.tools("toy")] == ["echo", "more"]
        assert here.mcp.find("toy__more").server == "toy"
        assert len(here.children) == 1


async def test_what_is_known_is_known_of_a_recipe_not_of_a_name() -> None:
    async with world(Toy("more"), spec("other"), other=Toy()) as here:
        await here.mcp.add(LOCAL, spec(origin=Origin.API))
        await here.call()
        await here.mcp.remove(LOCAL, ServerName("toy"))
        changed = Command(command="toy", args=("--other",))
        await here.mcp.add(LOCAL, spec(origin=Origin.API, recipe=changed))
        assert here.mcp.known_tools("toy") == ()
        await here.mcp.remove(LOCAL, ServerName("toy"))
        await here.mcp.add(LOCAL, spec(origin=Origin.API))
        assert len(here.mcp.known_tools("toy")) == 2


async def test_a_stopped_server_offers_nothing() -> None:
    async with world(Toy()) as here:
        await here.call()
        assert len(here.mcp.tools()) == 1
        await here.mcp.stop_server(LOCAL, "toy")
        assert here.mcp.tools() == ()
        assert len(here.mcp.known_tools("toy")) == 1


async def test_a_server_without_tools_is_ready() -> None:
    toy = Toy()
    toy.capabilities = {}
    async with world(toy, spec(start=StartPolicy.EAGER)) as here:
        await here.reaches(State.READY)
        assert here.mcp.tools() == ()
        assert not toy.methods("tools/list")


async def test_a_server_that_cannot_list_says_in_which_stage_it_failed() -> None:
    toy = Toy()
    toy.tools = [5]
    async with world(toy, spec(start=StartPolicy.EAGER)) as here:
        record = await here.reaches(State.BACKING_OFF)
        assert record.last_failure is not None
        assert record.last_failure.stage == "listing"
        assert record.reason == "the answer to tools/list is malformed"


async def test_endless_announcements_do_not_list_endlessly() -> None:
    toy = Toy(era="legacy")
    async with world(toy) as here:
        await here.call()

        async def announce() -> None:
            while True:
                await toy.say({"method": "notifications/tools/list_changed"})
                await asyncio.sleep(0.01)

        announcing = asyncio.create_task(announce())
        await asyncio.sleep(2)
        announcing.cancel()
        assert len(toy.methods("tools/list")) <= 6
        await here.call()


def test_tools_without_a_name_of_their_own_are_left_out_with_one_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    catalogue = Catalogue(JsonSchemaCompiler())
    with caplog.at_level(logging.WARNING):
        catalogue.put(A, [*named("x", "x", "", 5, None), {}, *({} for _ in range(1000))])
    assert [tool.name for tool in catalogue.of(A)] == ["x"]
    assert len(caplog.records) == 1


def test_names_that_collide_are_told_apart_and_never_lost() -> None:
    catalogue = Catalogue(JsonSchemaCompiler())
    dotted = hashed_name(A, "t.1")
    literal = dotted.removeprefix("a__")
    for order in ((literal, "t.1", "t_1"), ("t.1", literal, "t_1"), ("t_1", "t.1", literal)):
        catalogue.put(A, named(*order))
        catalogue.put(B, named(*order))
        for tool in (*catalogue.of(A), *catalogue.of(B)):
            found = catalogue.find(tool.full_name)
            assert found is not None
            assert found.tool is tool
    catalogue.drop(A)
    assert len(catalogue.of(B)) == 3
    catalogue.drop(B)
    assert catalogue.find(dotted) is None


def test_a_check_is_compiled_when_first_wanted_and_kept_while_its_tool_is_the_same() -> None:
    compiler = CountingCompiler()
    catalogue = Catalogue(compiler)
    catalogue.put(A, [ECHO, *named("x", "y")])
    assert compiler.count == 0
    entry = catalogue.get(A, "echo")
    assert entry is not None
    assert entry.check is entry.check
    catalogue.put(A, [dict(ECHO), *named("z")])
    assert catalogue.get(A, "echo") is entry
    catalogue.put(A, [{**ECHO, "inputSchema": {"type": "object"}}])
    changed = catalogue.get(A, "echo")
    assert changed is not None
    assert changed.check is not entry.check
    assert compiler.count == 2
