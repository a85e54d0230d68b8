"""A server's life as its runner leads it: starts, failures, restarts and ends, at every moment."""

import asyncio
from datetime import timedelta

import pytest

from adapters.inmemory.launcher import Peer
from domain.model.callers import LOCAL
from domain.model.servers import (
    Command,
    Era,
    ServerDown,
    ServerState,
    StartPolicy,
)
from domain.model.tools import CallTimedOut
from tests.domain.toys import HASTY, SOON, Toy, running, spec, until, world

pytestmark = pytest.mark.anyio

State = ServerState


async def test_many_first_calls_are_one_launch() -> None:
    toy = Toy()
    async with world(toy) as here:
        assert here.record().state is State.IDLE
        results = await asyncio.gather(*(here.call(n=number) for number in range(50)))
        assert len(results) == 50
        assert len(here.children) == 1
        assert here.record().starts == 1


async def test_one_that_exits_on_the_probe_is_started_again_at_once_as_legacy() -> None:
    toy = Toy(era="rude")
    async with world(toy) as here:
        await here.call()
        record = here.record()
        assert (record.era, record.starts, record.failures) == (Era.LEGACY, 1, 0)
        assert len(here.children) == 2
        await here.mcp.restart_server(LOCAL, "toy")
        await here.reaches(State.READY)
        assert len(toy.methods("server/discover")) == 1


async def test_a_crash_is_told_with_its_reason_and_calls_fail_at_once() -> None:
    async with world(Toy("die")) as here:
        await here.call()
        here.children[-1].kill()
        record = await here.reaches(State.BACKING_OFF)
        assert record.reason == "the process ended by signal 9"
        assert record.pid is None
        with pytest.raises(ServerDown, match="backing off: the process ended") as caught:
            await asyncio.wait_for(here.call(), 0.5)
        assert caught.value.retry_after is not None
        assert len(here.children) == 1


async def test_after_its_pause_a_failed_server_is_started_again() -> None:
    async with world(Toy(), policy=HASTY) as here:
        await here.call()
        here.children[-1].kill()
        await until(lambda: here.record().state is State.READY and here.record().starts == 2)
        await here.call()
        assert here.record().failures == 1


async def test_a_server_that_crashes_at_boot_is_quarantined_and_still_tried() -> None:
    async def crash(_peer: Peer) -> int:
        return 7

    async with world(crash, spec(start=StartPolicy.EAGER), policy=HASTY) as here:
        record = await here.reaches(State.QUARANTINED)
        assert record.failures >= HASTY.quarantine_after
        assert record.reason == "the process exited with code 7 during the handshake"
        starts = record.starts
        await until(lambda: here.record().starts > starts)


async def test_a_command_that_does_not_exist_is_a_reason() -> None:
    async with world(Toy(), spec("lost")) as here:
        with pytest.raises(ServerDown, match="no such command"):
            await here.call(server="lost")
        assert here.record("lost").last_failure is not None


async def test_a_start_takes_no_longer_than_its_time() -> None:
    toy = Toy()
    toy.silent = {"server/discover", "initialize"}
    brief = timedelta(milliseconds=50)
    async with world(toy, spec(start_timeout=brief, probe_timeout=brief)) as here:
        with pytest.raises(ServerDown, match=r"within 0\.05 s"):
            await here.call()
        await until(lambda: running(here) == 0)


async def test_a_caller_waits_for_a_start_no_longer_than_it_asked() -> None:
    toy = Toy()
    toy.gate.clear()
    async with world(toy) as here:
        with pytest.raises(CallTimedOut):
            await here.call(timeout=timedelta(milliseconds=30))
        assert here.record().state is State.STARTING
        toy.gate.set()
        await here.call()
        assert len(here.children) == 1


async def test_a_server_that_backs_off_starts_at_once_when_asked() -> None:
    async with world(Toy()) as here:
        await here.call()
        here.children[-1].kill()
        await here.reaches(State.BACKING_OFF)
        await here.mcp.start_server(LOCAL, "toy")
        await here.reaches(State.READY)


async def test_haste_counts_while_the_failed_life_is_still_ending() -> None:
    class Halved(Toy):
        async def __call__(self, peer: Peer) -> int:
            await super().__call__(peer)
            await release.wait()
            return 0

        async def _take(self, peer: Peer, message: dict[str, object]) -> int | None:
            if message.get("method") == "tools/call":
                peer.close_output()
                return None
            return await super()._take(peer, message)

    release = asyncio.Event()
    async with world(Halved()) as here:
        here.fleet.group("toy").start()
        await here.reaches(State.READY)
        calling = asyncio.create_task(here.call())
        await here.reaches(State.BACKING_OFF)
        assert running(here) == 1
        await here.mcp.start_server(LOCAL, "toy")
        release.set()
        await here.reaches(State.READY)
        with pytest.raises(Exception, match="ended during the call"):
            await calling


async def test_haste_before_a_failure_is_no_haste_after_it() -> None:
    async with world(Toy()) as here:
        await here.call()
        await here.mcp.start_server(LOCAL, "toy")
        here.children[-1].kill()
        await here.reaches(State.BACKING_OFF)
        await until(lambda: running(here) == 0)
        await asyncio.sleep(0.05)
        assert here.record().state is State.BACKING_OFF
        assert len(here.children) == 1


async def test_the_end_of_the_system_during_a_start_leaves_nothing() -> None:
    toy = Toy()
    toy.gate.clear()
    eager = spec(start=StartPolicy.EAGER)
    async with world(toy, eager) as here:
        await until(lambda: here.children)
        waiting = asyncio.create_task(here.call())
        await asyncio.sleep(0)
        await here.fleet.stop()
        assert here.record().state is State.STOPPED
        with pytest.raises(ServerDown, match="the system is stopping"):
            await waiting
        with pytest.raises(ServerDown):
            await here.mcp.start_server(LOCAL, "toy")
        assert running(here) == 0


async def test_a_secret_that_a_server_repeats_is_hidden() -> None:
    secret = "hunter2-hunter2"

    async def babbler(peer: Peer) -> int:
        peer.log(f"my key is {peer.recipe.env['KEY']}")
        answer = '{"jsonrpc":"2.0","id":%d,"error":{"code":-32022,"data":{"supported":["%s"]}}}\n'
        await peer.read()
        await peer.write((answer % (1, secret)).encode())
        await peer.read()
        return 0

    recipe = Command(command="toy", env={"KEY": secret, "DEBUG": "1"})
    async with world(babbler, spec(recipe=recipe)) as here:
        with pytest.raises(ServerDown) as caught:
            await here.call()
        record = here.record()
        assert "no protocol version in common" in record.reason
        assert here.mcp.log_tail("toy") == ("my key is ***",)
        assert record.last_failure is not None
        for text in (record.reason, record.last_failure.message, caught.value.message):
            assert secret not in text


async def test_one_bad_server_takes_nothing_from_the_others() -> None:
    async def mute(_peer: Peer) -> int:
        await asyncio.Event().wait()
        return 0

    eager = spec(start=StartPolicy.EAGER)
    async with world(mute, eager, spec("fine"), fine=Toy()) as here:
        await here.call(server="fine", timeout=SOON)
        assert here.record().state is State.STARTING
