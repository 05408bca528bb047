"""A CRM's read API on a free loopback port, in a thread of its own, and whatever goes wrong on the way to it.

    with serving(Api()) as served:
        served.refuse(429, headers={"retry-after": "2"})
        ...  # ask served.base_url: the first call is refused, the next one answered by the API
        assert [call.path for call in served.calls] == ["/v3/contacts/991", "/v3/contacts/991"]

Each trouble is for one call, in the order in which they were asked for; without any the API answers.
"""

import asyncio
import contextlib
import socket
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson

from tests.support.apis.base import ApiAnswer, ApiRequest, FakeApi

START_S: Final = 20.0
CLOSING_S: Final = 0.05
HEAD_END: Final = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class _Trouble:
    """What becomes of one call: said first after ``after_s``, then byte by byte where ``each_s`` says so.

    ``answer`` None is what the API itself answers, and no bytes at all leave the connection to be closed.
    """

    answer: bytes | None = None
    after_s: float | None = 0.0
    """None: never."""
    each_s: float = 0.0


_NO_TROUBLE: Final = _Trouble()


@dataclass(slots=True)
class Served:
    """Where an API listens, every call that arrived, and how to trouble the calls to come."""

    api: FakeApi
    base_url: str
    calls: list[ApiRequest] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)
    """What the API itself raised; it is raised again at the end of the block."""
    _troubles: deque[_Trouble] = field(default_factory=deque)

    def refuse(
        self,
        status: int,
        *,
        times: int = 1,
        headers: Mapping[str, str] | None = None,
        document: Any = None,  # noqa: ANN401  # whatever JSON can hold
    ) -> None:
        """Answer so many calls with a status."""
        answer = _written(ApiAnswer(status, document, headers or {}))
        self._troubles.extend([_Trouble(answer)] * times)

    def say(self, body: bytes, *, status: int = 200, content_type: str = "application/json", times: int = 1) -> None:
        """Answer so many calls with a body that need not be JSON."""
        self._troubles.extend([_Trouble(_bytes(status, {"content-type": content_type}, body))] * times)

    def close(self, *, times: int = 1) -> None:
        """Read so many calls, and close the connection without an answer."""
        self._troubles.extend([_Trouble(b"")] * times)

    def cut(self, *, times: int = 1) -> None:
        """Close the connection in the middle of so many answers."""
        whole = _bytes(200, {"content-type": "application/json"}, b'{"id": "991"}')
        self._troubles.extend([_Trouble(whole[:-5])] * times)

    def hang(self, *, times: int = 1) -> None:
        """Leave so many calls without an answer, for as long as the block lasts."""
        self._troubles.extend([_Trouble(after_s=None)] * times)

    def delay(self, seconds: float, *, times: int = 1) -> None:
        """Answer so many calls rightly, but so much later."""
        self._troubles.extend([_Trouble(after_s=seconds)] * times)

    def drip(self, each_s: float, *, times: int = 1) -> None:
        """Answer so many calls rightly, a byte at a time: no read of it waits for long, all of it takes long."""
        self._troubles.extend([_Trouble(each_s=each_s)] * times)

    def next_trouble(self) -> _Trouble:
        """Return what becomes of the next call."""
        return self._troubles.popleft() if self._troubles else _NO_TROUBLE


@contextmanager
def serving(api: FakeApi) -> Iterator[Served]:
    """Serve an API while the block runs. What the API raises closes the connection, and is raised after the block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        served = Served(api, f"http://127.0.0.1:{listener.getsockname()[1]}")
        server = _Server(served, listener)
        thread = threading.Thread(target=server.run, name="crm-api")
        thread.start()
        try:
            assert server.ready.wait(START_S), "the API did not start"
            yield served
        finally:
            server.stop()
            thread.join(START_S)
            assert not thread.is_alive(), "the API did not stop"
    if served.faults:
        raise served.faults[0]


class _Server:
    """HTTP/1.1 with keep-alive, as much of it as clients need, so that a connection can be treated badly."""

    def __init__(self, served: Served, listener: socket.socket) -> None:
        self.ready = threading.Event()
        self._served = served
        self._listener = listener
        self._loop: asyncio.AbstractEventLoop
        self._over: asyncio.Event
        self._open: set[asyncio.Task[Any]] = set()

    def run(self) -> None:
        """Serve until told to stop."""
        asyncio.run(self._serve())

    def stop(self) -> None:
        """Let go of every connection, answered or not."""
        self._loop.call_soon_threadsafe(self._over.set)

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connection, sock=self._listener)
        self.ready.set()
        await self._over.wait()
        server.close()
        # One that was accepted a moment ago has not begun yet: broken off before it does, it would stay open.
        while rest := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in self._open:
                task.cancel()
            await asyncio.wait(rest, timeout=CLOSING_S)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        # Cancelled at the end of the block, and a client that has gone misses nothing.
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._answer(await _read(reader), writer):
                pass
        writer.close()
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await writer.wait_closed()
        self._open.discard(task)

    async def _answer(self, request: ApiRequest, writer: asyncio.StreamWriter) -> bool:
        """Answer one call; say whether the connection goes on."""
        self._served.calls.append(request)
        trouble = self._served.next_trouble()
        if trouble.after_s is None:
            await self._over.wait()
            return False
        await asyncio.sleep(trouble.after_s)
        answer = self._asked(request) if trouble.answer is None else trouble.answer
        step = 1 if trouble.each_s else max(1, len(answer))
        for at in range(0, len(answer), step):
            writer.write(answer[at : at + step])
            await writer.drain()
            await asyncio.sleep(trouble.each_s)
        return _is_whole(answer)

    def _asked(self, request: ApiRequest) -> bytes:
        try:
            return _written(self._served.api.answer(request))
        except Exception as error:  # noqa: BLE001  # a mistake in the API is the test's to see, not the client's
            self._served.faults.append(error)
            return b""


async def _read(reader: asyncio.StreamReader) -> ApiRequest:
    head = (await reader.readuntil(HEAD_END)).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    path, _, query = target.partition("?")
    return ApiRequest(method, path, dict(parse_qsl(query, keep_blank_values=True)), headers, body)


def _written(answer: ApiAnswer) -> bytes:
    if answer.document is None:
        return _bytes(answer.status, answer.headers, b"")
    headers = {"content-type": "application/json", **answer.headers}
    return _bytes(answer.status, headers, orjson.dumps(answer.document))


def _bytes(status: int, headers: Mapping[str, str], body: bytes) -> bytes:
    phrase = HTTPStatus(status).phrase
    length = {} if status == HTTPStatus.NO_CONTENT else {"content-length": str(len(body))}
    lines = [f"{name}: {value}" for name, value in {**headers, **length}.items()]
    return "\r\n".join([f"HTTP/1.1 {status} {phrase}", *lines, "", ""]).encode("latin-1") + body


def _is_whole(answer: bytes) -> bool:
    """Say whether an answer is as long as it announces, so that another may follow it."""
    head, end, body = answer.partition(HEAD_END)
    announced = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return bool(end) and len(body) == int(announced or b"0")
