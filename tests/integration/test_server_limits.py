"""What a connection may ask of a node before anybody has asked it for a key."""

import asyncio
import contextlib
import socket

import httpx
import pytest
import uvicorn

from penstock.cli import protocol
from penstock.cli.commands import api
from penstock.cli.protocol import Protocol

PATIENCE_S = 60.0


class Hasty(Protocol):
    arrive_s = 0.2


async def echo(scope, receive, send):
    """Answers with the size of the body."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message["body"]), message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"8")]})
    await send({"type": "http.response.body", "body": b"%08d" % size})


@contextlib.asynccontextmanager
async def connected(kind=Protocol):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(echo, http=kind, lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server._serve([listener]))
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        try:
            async with asyncio.timeout(PATIENCE_S):
                yield reader, writer
        finally:
            writer.close()
            server.should_exit = True
            await serving


def test_an_idle_connection_is_kept_for_longer_than_clients_keep_it():
    """Else it is closed at the moment when they ask, and nobody knows whether that was heard."""
    assert api._config(echo).timeout_keep_alive > 2 * httpx.Limits().keepalive_expiry


async def answer(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    body = await reader.readexactly(8) if b"200" in head.split(b"\r\n")[0] else b""
    return int(head.split()[1]), body


async def test_a_head_without_an_end_is_refused():
    async with connected() as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n")
        with contextlib.suppress(ConnectionError):
            for n in range(50_000):
                writer.write(b"x-%d: %s\r\n" % (n, b"y" * 1_000))
                await writer.drain()
                if reader.at_eof():
                    break
            else:
                pytest.fail("50 MB of headers were taken")


async def test_what_follows_a_body_in_pieces_is_not_kept():
    kept = []

    class Seen(Protocol):
        def on_message_complete(self):
            kept.extend(self.headers)
            super().on_message_complete()

    async with connected(Seen) as (reader, writer):
        head = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        for piece in (head, b"3\r\nabc\r\n0\r\n", b"a: b\r\n" * 1_000, b"\r\n"):
            writer.write(piece)
            await writer.drain()
        assert await answer(reader) == (200, b"00000003")
    assert [name for name, _ in kept] == [b"host", b"transfer-encoding"]


async def test_who_sends_a_large_head_is_told():
    async with connected() as (reader, writer):
        for piece in (b"GET / HTTP/1.1\r\nx: ", b"y" * protocol.MOST_HEAD, b"y"):
            writer.write(piece)
            await writer.drain()
        assert await answer(reader) == (431, b"")


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nhost: x\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nabc",
    ],
)
async def test_a_request_that_does_not_come_to_its_end_is_given_up(begun):
    async with connected(Hasty) as (reader, writer):
        writer.write(begun)
        assert await reader.read() == b""


async def test_what_arrives_in_pieces_is_served_and_the_next_one_has_its_own_time():
    async with connected() as (reader, writer):
        for _ in range(3):
            for piece in (b"POST / HTTP/1.1\r\n", b"host: x\r\ncontent-", b"length: 6\r\n\r\nab", b"cdef"):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            assert await answer(reader) == (200, b"00000006")


async def test_a_large_body_and_requests_one_after_the_other_in_one_piece_are_served():
    async with connected() as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n" + b"x" * 1_000_000)
        assert await answer(reader) == (200, b"01000000")
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * 5_000)
        for _ in range(5_000):
            assert await answer(reader) == (200, b"00000000")


async def test_a_served_connection_is_not_given_up_between_requests():
    async with connected(Hasty) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n")
        await writer.drain()
        writer.write(b"a")
        assert await answer(reader) == (200, b"00000001")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2 * Hasty.arrive_s):
                await reader.read()
