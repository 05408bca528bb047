"""A server that answers with given bytes and keeps what it was sent: for what no API would do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Wire:
    """Where the server listens, and every request it got, head and body as they came."""

    base_url: str
    requests: list[bytes] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        """The request line and headers of the last request."""
        return self.requests[-1].partition(b"\r\n\r\n")[0].decode("ascii").split("\r\n")


@asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[Wire]:
    """Serve one answer a connection, the last one from then on; each connection is closed after it."""
    waiting = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        sizes = [line.partition(b":")[2] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
        wire.requests.append(head + (await reader.readexactly(int(sizes[0])) if sizes else b""))
        writer.write(waiting.pop(0) if len(waiting) > 1 else waiting[0])
        try:
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        except ConnectionError:
            pass  # the client had read enough

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        wire = Wire(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        yield wire


def http_answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Write an HTTP answer."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(head).encode("ascii") + body
