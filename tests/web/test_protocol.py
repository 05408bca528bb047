"""A request's head has bounds, whoever sends it; uvicorn has none of its own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import uvicorn

from service.web.protocol import BoundedHttp

pytestmark = pytest.mark.anyio


class Impatient(BoundedHttp):
    """Waits as long as a test can."""

    head_timeout_s = 0.2


async def _ok(scope: object, receive: object, send: object) -> None:
    del scope, receive
    await send({"type": "http.response.start", "status": 204, "headers": []})  # type: ignore[operator]  # ASGI's send
    await send({"type": "http.response.body", "body": b""})  # type: ignore[operator]  # as above


@contextlib.asynccontextmanager
async def _connected(protocol: type[BoundedHttp]) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    config = uvicorn.Config(_ok, host="127.0.0.1", port=0, http=protocol, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  # uvicorn has no event to wait for
        await asyncio.sleep(0.01)
    reader, writer = await asyncio.open_connection(*server.servers[0].sockets[0].getsockname()[:2])
    try:
        yield reader, writer
    finally:
        writer.close()
        server.should_exit = True
        await serving


async def test_whole_heads_are_answered_one_after_the_other() -> None:
    async with _connected(BoundedHttp) as (reader, writer):
        for _ in range(3):
            writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            assert b" 204 " in await reader.readuntil(b"\r\n\r\n")


async def test_a_head_that_never_ends_is_cut_off_by_size() -> None:
    async with _connected(BoundedHttp) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionError):
            for number in range(10_000):
                writer.write(b"x-filler-%d: " % number + b"a" * 1000 + b"\r\n")
                await writer.drain()
                if reader.at_eof():
                    break
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        assert reader.at_eof() or reader.exception() is not None


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nhost: a\r\n"], ids=["silent", "half a head"])
async def test_a_head_that_drips_is_cut_off_by_time(begun: bytes) -> None:
    async with _connected(Impatient) as (reader, writer):
        writer.write(begun)
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_a_second_head_has_its_own_time() -> None:
    async with _connected(Impatient) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"GET / HTTP")
        assert await asyncio.wait_for(reader.read(), 5) == b""
