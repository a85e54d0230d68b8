"""Known servers give way: to what is named in a file, and to what is added."""

import pytest

from domain.model.callers import LOCAL
from domain.model.servers import (
    Command,
    Origin,
    ServerExists,
    ServerName,
    ServerNotRemovable,
    ServerSpec,
    ServerState,
    ServerUnusable,
)
from tests.domain.toys import Toy, running, spec, until, world

pytestmark = pytest.mark.anyio

TOY = ServerName("toy")


def known() -> ServerSpec:
    return spec(origin=Origin.KNOWN)


def added() -> ServerSpec:
    return spec(origin=Origin.API, recipe=Command(command="mine"))


async def test_an_added_server_takes_the_place_of_a_known_one() -> None:
    async with world(Toy("old"), known(), mine=Toy("new")) as here:
        await here.call()

        record = await here.mcp.add(LOCAL, added())

        assert record.spec.origin is Origin.API
        assert (running(here), here.mcp.tools()) == (0, ())
        await here.call()
        assert [tool.name for tool in here.mcp.tools()] == ["echo", "new"]
        assert running(here) == 1


async def test_a_server_is_added_once_in_place_of_a_known_one() -> None:
    async with world(Toy(), known(), mine=Toy()) as here:
        await here.mcp.add(LOCAL, added())
        with pytest.raises(ServerExists):
            await here.mcp.add(LOCAL, added())


async def test_a_kept_server_hides_the_known_one_until_it_is_removed() -> None:
    async with world(Toy(), known(), mine=Toy()) as here:
        await here.mcp.add(LOCAL, added())
        await here.again()
        assert here.record().spec.origin is Origin.API
        await here.mcp.remove(LOCAL, TOY)
        await until(here.mcp.records)
        assert here.record().spec.origin is Origin.KNOWN


async def test_a_known_server_cannot_be_removed() -> None:
    async with world(Toy(), known()) as here:
        with pytest.raises(ServerNotRemovable, match="is part of the catalogue"):
            await here.mcp.remove(LOCAL, TOY)
        assert here.record().state is ServerState.IDLE


async def test_a_known_server_that_lacks_something_says_what() -> None:
    lacking = spec(origin=Origin.KNOWN, problem="it needs the argument DIR.")
    async with world(Toy(), lacking) as here:
        record = here.record()
        assert (record.state, record.reason) == (ServerState.DISABLED, lacking.problem)
        with pytest.raises(ServerUnusable, match="DIR"):
            await here.mcp.start_server(LOCAL, "toy")
