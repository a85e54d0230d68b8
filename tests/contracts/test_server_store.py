"""What a store of servers promises."""

from datetime import timedelta

import pytest

from domain.model.callers import CallerId
from domain.model.servers import (
    Command,
    ServerExists,
    ServerName,
    ServerNotFound,
    ServerSpec,
    StartPolicy,
)
from tests.contracts.storage import Store

pytestmark = pytest.mark.anyio


def _spec(name: str) -> ServerSpec:
    return ServerSpec(
        name=ServerName(name),
        recipe=Command(command="uvx", args=("a", "-b"), env={"KEY": "ü"}, cwd="/tmp"),  # noqa: S108 - never opened
        start=StartPolicy.LAZY,
        owner=CallerId("me"),
        probe_timeout=timedelta(milliseconds=1500),
    )


async def _add(store: Store, *names: str) -> None:
    async with store.transactions.begin() as transaction:
        for name in names:
            await transaction.servers.add(_spec(name))


async def test_servers_come_back_as_they_were_given_by_name(store: Store) -> None:
    await _add(store, "b", "c", "a")
    async with store.transactions.read() as transaction:
        assert await transaction.servers.list() == (_spec("a"), _spec("b"), _spec("c"))


async def test_a_second_server_of_the_same_name_is_refused(store: Store) -> None:
    await _add(store, "a")
    with pytest.raises(ServerExists) as caught:
        await _add(store, "a")
    assert caught.value.details == {"name": "a"}


async def test_a_removed_server_is_gone(store: Store) -> None:
    await _add(store, "a", "b")
    async with store.transactions.begin() as transaction:
        await transaction.servers.remove(ServerName("a"))
        with pytest.raises(ServerNotFound):
            await transaction.servers.remove(ServerName("a"))
    async with store.transactions.read() as transaction:
        assert await transaction.servers.list() == (_spec("b"),)


async def test_the_tools_last_kept_are_known_whole(store: Store) -> None:
    old = ({"name": "now"},)
    new = ({"name": "now", "_meta": {"x": [1, None]}}, {"name": "then", "title": "Später"})
    async with store.transactions.begin() as transaction:
        assert await transaction.servers.known_tools("digest") is None
        await transaction.servers.keep_tools("digest", old)
        await transaction.servers.keep_tools("other", ())
        await transaction.servers.keep_tools("digest", new)
    async with store.transactions.read() as transaction:
        assert await transaction.servers.known_tools("digest") == new
        assert await transaction.servers.known_tools("other") == ()


async def test_the_revision_of_tools_rises_with_each_keeping(store: Store) -> None:
    tools = ({"name": "now"},)
    async with store.transactions.begin() as transaction:
        assert await transaction.servers.revisions() == {}
        await transaction.servers.keep_tools("digest", tools)
        await transaction.servers.keep_tools("other", tools)
        first = await transaction.servers.revisions()
        await transaction.servers.keep_tools("digest", tools)
    async with store.transactions.read() as transaction:
        second = await transaction.servers.revisions()
    assert set(first) == set(second) == {"digest", "other"}
    assert second["digest"] > first["digest"]
    assert second["other"] == first["other"]
