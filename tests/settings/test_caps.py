"""From settings and servers' options to the caps that workers claim with."""

from contextlib import AsyncExitStack

import pytest

from adapters.system import SystemClock
from domain.model.tasks import Lane
from entrypoints.server_options import ServerOptions
from entrypoints.settings.loading import load
from entrypoints.wiring.models import models_of
from entrypoints.wiring.worker import caps_of
from tests.domain.toys import Toy, spec, world

pytestmark = pytest.mark.anyio

ENVIRON = {
    "HOME": "/home/x",
    "SUTAZAI_LLM_BASE_URL": "http://127.0.0.1:9/v1",
    "SUTAZAI_LLM_MODEL": "small:1b",
    "SUTAZAI_LLM_MAX_TASKS": "2",
    "SUTAZAI_MODELS__LARGE__BASE_URL": "http://127.0.0.1:9/v1",
    "SUTAZAI_MODELS__LARGE__MAX_TASKS": "1",
    "SUTAZAI_MODELS__FREE__BASE_URL": "http://127.0.0.1:9/v1",
}


async def test_caps_are_those_of_the_models_and_of_the_servers_that_there_are() -> None:
    settings = load(ENVIRON)
    capped = ServerOptions(max_tasks=3).applied(spec("capped"))
    async with AsyncExitStack() as stack:
        models = models_of(settings, SystemClock(), stack)
        here = await stack.enter_async_context(world(Toy(), spec(), capped, capped=Toy()))
        caps = caps_of(settings, models, here.mcp)
        assert caps() == {
            Lane("model:small:1b"): 2,
            Lane("model:large"): 1,
            Lane("server:capped"): 3,
        }
        await here.fleet.add(ServerOptions(max_tasks=5).applied(spec("late")))
        assert caps()[Lane("server:late")] == 5


async def test_nothing_is_capped_unless_somebody_says_so() -> None:
    settings = load({"HOME": "/home/x"})
    async with AsyncExitStack() as stack:
        models = models_of(settings, SystemClock(), stack)
        here = await stack.enter_async_context(world(Toy()))
        assert caps_of(settings, models, here.mcp)() == {}


def test_an_operators_word_about_tools_is_kept_in_the_spec() -> None:
    named = ServerOptions(idempotent_tools=("read",)).applied(spec())
    every = ServerOptions(idempotent_tools=("*",)).applied(spec())
    assert [named.calls_idempotent(tool) for tool in ("read", "write")] == [True, False]
    assert every.calls_idempotent("write")
    assert not spec().calls_idempotent("read")
