"""Connections that say too little, too much or come too many, over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from flows.connections import HEAD_LIMIT, Connections, guarded_by

WHOLE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HALF = WHOLE[:20]


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def serving(guard: Connections) -> AsyncIterator[int]:
    """Yield the port of a server whose connections are guarded."""
    config = uvicorn.Config(
        hello, port=0, http=guarded_by(guard), ws="none", lifespan="off", log_config=None
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.force_exit = True
        await server.shutdown()


async def opened(
    port: int, first: bytes = b""
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(first)
    await writer.drain()
    return reader, writer


async def ended(reader: asyncio.StreamReader) -> bytes:
    """Return what is read until the connection ends, however it ends."""
    async with asyncio.timeout(5):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


@pytest.mark.parametrize("first", [b"", HALF, b"\r\n"])
async def test_a_head_that_does_not_come_ends_the_connection(first: bytes) -> None:
    guard = Connections(head_within_s=0.2)
    async with serving(guard) as port:
        reader, writer = await opened(port, first)
        assert await ended(reader) == b""
        writer.close()
        assert not guard.waiting
        assert not guard.open


async def test_a_head_that_trickles_has_no_more_time() -> None:
    async with serving(Connections(head_within_s=0.3)) as port:
        reader, writer = await opened(port, HALF)

        async def trickle() -> None:
            while True:
                writer.write(b"a")
                await asyncio.sleep(0.05)

        trickling = asyncio.create_task(trickle())
        assert await ended(reader) == b""
        trickling.cancel()
        await asyncio.gather(trickling, return_exceptions=True)
        writer.close()


async def test_a_head_without_end_ends_the_connection() -> None:
    async with serving(Connections()) as port:
        reader, writer = await opened(port, HALF + b"a" * (HEAD_LIMIT + 1))
        assert await ended(reader) == b""
        writer.close()


async def test_a_second_request_is_given_its_own_time() -> None:
    async with serving(Connections(head_within_s=0.3)) as port:
        reader, writer = await opened(port, WHOLE)
        assert b"200" in await reader.readuntil(b"ok")
        writer.write(WHOLE)
        assert b"200" in await reader.readuntil(b"ok")
        writer.write(HALF)
        assert await ended(reader) == b""
        writer.close()


async def test_one_source_may_hold_so_many_connections() -> None:
    guard = Connections(most_of_one_source=2)
    async with serving(guard) as port:
        held = [await opened(port, HALF) for _ in range(2)]
        reader, writer = await opened(port, WHOLE)
        assert await ended(reader) == b""
        held[0][1].write(WHOLE[len(HALF) :])
        assert b"200" in await held[0][0].readuntil(b"ok")
        for each in (writer, *(writer for _, writer in held)):
            each.close()


async def test_one_too_many_takes_the_place_of_the_longest_silent() -> None:
    guard = Connections(most=2)
    async with serving(guard) as port:
        oldest, newer = await opened(port, HALF), await opened(port, HALF)
        reader, writer = await opened(port, WHOLE)
        assert b"200" in await reader.readuntil(b"ok")
        assert await ended(oldest[0]) == b""
        newer[1].write(WHOLE[len(HALF) :])
        assert b"200" in await newer[0].readuntil(b"ok")
        for each in (writer, oldest[1], newer[1]):
            each.close()
