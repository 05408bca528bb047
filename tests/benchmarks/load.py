"""Raw HTTP/1.1 load over keep-alive connections: as many requests as a server takes, each answer checked."""

import asyncio
import math
import socket
import time
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self, cast

import uvloop

OVERTIME_S: Final = 60.0
"""How long the last answers of a timed round are waited for."""
LONGEST_S: Final = 600.0
"""How long any round may take, then TimeoutError."""
RECEIVE_BYTES: Final = 64 * 1024
HEAD_END: Final = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent where: requests one after the other, and the bodies that each may be answered with."""

    port: int
    requests: Iterator[bytes]
    answers: Sequence[bytes]
    connections: int


@dataclass(frozen=True, slots=True)
class Fired:
    """What came of a round. ``answers`` counts every right answer by its body, ``requests_per_s`` those in time."""

    answers: Counter[bytes]
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    busy: float
    """How much of its own core the generator took: near 1, it is itself the bound."""
    wrong: Counter[str]

    @property
    def answered(self) -> int:
        """How many right answers came."""
        return self.answers.total()


def fire(load: Load, *, seconds: float = math.inf) -> Fired:
    """Send on every connection, the next request as soon as the last is answered, for so long or until none is left.

    Answers that are due then are waited for, so that what was acknowledged is known exactly.
    """
    return uvloop.run(_fire(load, seconds))


async def _fire(load: Load, seconds: float) -> Fired:
    loop = asyncio.get_running_loop()
    volley = _Volley(load)
    async with asyncio.timeout(min(seconds + OVERTIME_S, LONGEST_S)):
        opened = [
            await loop.create_connection(volley.connection, "127.0.0.1", load.port) for _ in range(load.connections)
        ]
        started, used = time.perf_counter(), time.process_time()
        volley.until = started + seconds
        for _, connection in opened:
            connection.send()
        await volley.over.wait()
    ended = time.perf_counter()
    for transport, _ in opened:
        transport.close()
    took = min(ended - started, seconds)
    ordered = sorted(volley.latencies)
    return Fired(
        answers=volley.answers,
        requests_per_s=volley.in_time / took,
        p50_ms=percentile(ordered, 50) * 1000,
        p99_ms=percentile(ordered, 99) * 1000,
        max_ms=percentile(ordered, 100) * 1000,
        busy=(time.process_time() - used) / (ended - started),
        wrong=volley.wrong,
    )


class Caller:
    """One connection for one request after the other, each waited for: for few requests whose moments count."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=OVERTIME_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, request: bytes) -> tuple[bytes, int]:
        """Send a request; return the body of the answer, and when it was here whole: wall time in ns."""
        self._socket.sendall(request)
        received = b""
        while (answer := _answer(received)) is None:
            part = self._socket.recv(RECEIVE_BYTES)
            if not part:
                raise ConnectionError("the service closed the connection")
            received += part
        return answer[1], time.time_ns()


def told(wrong: Counter[str]) -> Iterator[str]:
    """Say what was answered wrongly, and how often."""
    return (f"{count} times {what}" for what, count in wrong.items())


def percentile(ordered: list[float], percent: float) -> float:
    """Return the nearest-rank percentile of ordered values; NaN of none."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else math.nan


class _Volley:
    """What the connections of a round share."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.until = math.inf
        self.latencies = array("d")
        self.answers: Counter[bytes] = Counter()
        self.in_time = 0
        self.wrong: Counter[str] = Counter()
        self.over = asyncio.Event()
        self._open = load.connections

    def connection(self) -> "_Connection":
        return _Connection(self)

    def done(self) -> None:
        self._open -= 1
        if self._open == 0:
            self.over.set()


class _Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request under way."""

    def __init__(self, volley: _Volley) -> None:
        self._volley = volley
        self._received = b""
        self._sent_at = 0.0
        self._done = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def send(self) -> None:
        """Send the next request, or be done."""
        now = time.perf_counter()
        request = next(self._volley.load.requests, None) if now < self._volley.until else None
        if request is None:
            self._end()
            return
        self._sent_at = now
        self._transport.write(request)

    def data_received(self, received: bytes) -> None:
        self._received += received
        answer = _answer(self._received)
        if answer is None:
            return
        volley, now, (status, body) = self._volley, time.perf_counter(), answer
        if status == b"200" and body in volley.load.answers:
            volley.answers[body] += 1
            volley.latencies.append(now - self._sent_at)
            volley.in_time += now <= volley.until
        else:
            volley.wrong[f"answered {status.decode()}, or with another body"] += 1
        self._received = b""
        self.send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done:
            self._volley.wrong[f"connection lost: {type(error).__name__}"] += 1
            self._end()

    def _end(self) -> None:
        if not self._done:
            self._done = True
            self._volley.done()


def _answer(received: bytes) -> tuple[bytes, bytes] | None:
    """Return status and body of an answer once it is there whole: every server here announces its length."""
    head = received.find(HEAD_END)
    if head < 0:
        return None
    at = received.lower().find(b"content-length:", 0, head) + len(b"content-length:")
    length = int(received[at : received.index(b"\r\n", at)])
    body = received[head + len(HEAD_END) :]
    return (received[9:12], body) if len(body) >= length else None
