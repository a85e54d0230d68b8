"""The server in our loop: its port, its start and the steps of its end."""

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta

import httpx
import pytest

from entrypoints.http.door import Door, DoorRules
from entrypoints.http.visit import Message, Receive, Send
from entrypoints.serving import HttpServer, PortTaken, probe_port

pytestmark = pytest.mark.anyio
DRAIN_S = 0.3


async def endless(_scope: Message, _receive: Receive, send: Send) -> None:
    """A stream that never ends by itself and does not hear that the system stops."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await asyncio.sleep(0.01)


def new_server() -> tuple[Door, HttpServer, str]:
    port = probe_port("127.0.0.1", 0)
    door = Door(DoorRules(port=port, max_body_bytes=1000))
    server = HttpServer(door, "127.0.0.1", port, timedelta(seconds=DRAIN_S))
    return door, server, f"http://127.0.0.1:{port}"


def test_a_port_that_is_shared_in_silence_is_found_taken() -> None:
    with closing(socket.socket()) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        with pytest.raises(PortTaken, match=str(port)):
            probe_port("127.0.0.1", port)

    assert probe_port("127.0.0.1", port) == port


def test_a_foreign_address_is_refused() -> None:
    with pytest.raises(PortTaken, match=r"192\.0\.2\.1"):
        probe_port("192.0.2.1", 0)


async def test_a_second_server_finds_the_port_of_the_first_taken() -> None:
    _, server, url = new_server()
    async with server:
        with pytest.raises(PortTaken):
            probe_port("127.0.0.1", httpx.URL(url).port or 0)


async def test_many_open_streams_keep_nobody_out() -> None:
    door, server, url = new_server()
    door.open(endless)
    port = httpx.URL(url).port or 0
    async with server, asyncio.timeout(20):
        writers = []
        for _ in range(200):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            writers.append(writer)
        async with httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/livez")).status_code == 200
        for writer in writers:
            writer.close()
            await writer.wait_closed()


async def test_the_port_answers_from_the_start_and_is_free_after_the_end() -> None:
    door, server, url = new_server()
    async with httpx.AsyncClient(base_url=url) as client:
        async with server:
            assert (await client.get("/livez")).status_code == 200
            assert (await client.get("/")).status_code == 503
            assert door.open_responses == 0
        with pytest.raises(httpx.ConnectError):
            await client.get("/livez")

    port = httpx.URL(url).port or 0
    assert probe_port("127.0.0.1", port) == port


async def test_signals_stay_ours() -> None:
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in signals]
    _, server, _ = new_server()
    async with server:
        assert [signal.getsignal(number) for number in signals] == before


async def test_streams_that_do_not_end_do_not_hold_the_end_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    door, server, url = new_server()
    async with httpx.AsyncClient(base_url=url) as client, server:
        door.open(endless)
        streams = [client.stream("GET", "/") for _ in range(5)]
        answers = [await stream.__aenter__() for stream in streams]
        assert door.open_responses == 5

        begun = time.monotonic()
        await server.stop()

        assert DRAIN_S <= time.monotonic() - begun < DRAIN_S + 2
        assert door.open_responses == 0
        assert "Cancelled 5 requests" in caplog.text
        for stream, answer in zip(streams, answers, strict=True):
            with pytest.raises(httpx.RemoteProtocolError):
                await answer.aread()
            await stream.__aexit__(None, None, None)


async def test_stopping_twice_is_stopping_once() -> None:
    _, server, _ = new_server()
    await server.start()
    await server.stop()
    await server.stop()


async def test_a_body_that_is_too_large_is_answered_though_its_sender_goes_on() -> None:
    async def reading(_scope: Message, receive: Receive, _send: Send) -> None:
        while (await receive())["more_body"]:
            pass

    door, server, url = new_server()

    async def parts(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b"1" * 1000

    async with httpx.AsyncClient(base_url=url) as client, server:
        door.open(reading)
        headers = {"content-type": "application/json"}
        declared = await client.post("/", content=b"1" * 10_000_000, headers=headers)
        chunked = await client.post("/", content=parts(3000), headers=headers)

    assert declared.status_code == chunked.status_code == 413


async def test_a_request_without_a_host_is_400() -> None:
    _, server, url = new_server()
    async with server:
        reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(url).port)
        writer.write(b"GET /livez HTTP/1.1\r\nconnection: close\r\n\r\n")
        head = await reader.readline()
        await reader.read()
        writer.close()
        await writer.wait_closed()

    assert b" 400 " in head


async def test_the_probes_answer_until_the_server_itself_is_left() -> None:
    door, server, url = new_server()
    async with httpx.AsyncClient(base_url=url) as client, server:
        door.open(endless)
        assert (await client.get("/readyz")).status_code == 200
        door.closing()
        assert await door.emptied(timedelta(seconds=1)) == 0
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/livez")).status_code == 200
        assert (await client.get("/")).status_code == 503


async def test_a_name_may_be_listened_on() -> None:
    port = probe_port("localhost", 0)
    server = HttpServer(Door(DoorRules(port=port)), "localhost", port, timedelta())
    async with httpx.AsyncClient(base_url=f"http://localhost:{port}") as client, server:
        assert (await client.get("/livez")).status_code == 200
