"""What a fault does to the connection: real resets, cut answers and silence, on uvicorn's own transport."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from service.sandbox.answers import Answer, error, nothing, page
from service.sandbox.clock import Clock
from service.sandbox.faults import Fault, FaultKind
from service.sandbox.late import Late

TIMEOUT_DELAY_S: Final = 300.0
SLOW_BODY_DELAY_S: Final = 5.0
SLOW_BODY_PIECES: Final = 10

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER on, nought seconds: closing sends RST."""


_PACED: Final = frozenset(
    {FaultKind.SLOW_BODY, FaultKind.TIMEOUT_BEFORE, FaultKind.TIMEOUT_AFTER, FaultKind.TIMEOUT_LATE}
)
_APPLIED: Final = frozenset(
    {
        *(FaultKind.SLOW_BODY, FaultKind.TRUNCATED_JSON),
        *(FaultKind.TIMEOUT_AFTER, FaultKind.RESET_AFTER, FaultKind.CLOSE_AFTER),
    }
)


class _Transport(Protocol):
    def get_extra_info(self, name: str) -> Any: ...  # noqa: ANN401  # asyncio's own signature

    def is_closing(self) -> bool: ...

    def abort(self) -> None: ...

    def close(self) -> None: ...


class Wire:
    """One request's connection. ``released`` ends every silence, so that a stop or a clear does not wait for it."""

    def __init__(self, receive: Receive, send: Send, clock: Clock, released: asyncio.Event) -> None:
        self._receive = receive
        self._send = send
        self._clock = clock
        self._released = released

    async def answer(self, answer: Answer) -> None:
        """Sends the whole answer."""
        await self._start(answer)
        await self._send({"type": "http.response.body", "body": answer.body})

    async def answer_slowly(self, answer: Answer, delay_s: float) -> None:
        """Sends the head at once and the body in pieces, the last one when ``delay_s`` is over."""
        await self._start(answer)
        step = -(-len(answer.body) // SLOW_BODY_PIECES) or 1
        pieces = [answer.body[at : at + step] for at in range(0, len(answer.body), step)]
        for piece in pieces:
            await self._clock.sleep(delay_s / len(pieces))
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        await self._send({"type": "http.response.body", "body": b""})

    async def cut_short(self, answer: Answer) -> None:
        """Promises the whole body, sends half of it and closes."""
        await self._start(answer)
        half = answer.body[: len(answer.body) // 2]
        await self._send({"type": "http.response.body", "body": half, "more_body": True})
        await self.drop(abrupt=False)

    async def drop(self, *, abrupt: bool) -> None:
        """Ends the connection without an answer: with TCP RST, or closed in good order; one that is gone stays so."""
        transport: _Transport | None = getattr(getattr(self._send, "__self__", None), "transport", None)
        if transport is None:
            raise ConnectionAbortedError("the sandbox drops this connection, and this server has none to drop")
        if abrupt and not transport.is_closing():
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            transport.abort()
        else:
            transport.close()
        await self._until_gone()

    async def stay_silent(self, delay_s: float) -> None:
        """Waits until the client has gone, ``delay_s`` is over or all are released; then closes."""
        await self._first_of(self._until_gone(), self._clock.sleep(delay_s), self._released.wait())
        await self.drop(abrupt=False)

    async def stay_silent_until(self, landed: asyncio.Task[None]) -> None:
        """Waits until the client has gone or what it sent has landed, which goes on without it; then closes."""
        await self._first_of(self._until_gone(), asyncio.wait([landed]))
        await self.drop(abrupt=False)

    async def _start(self, answer: Answer) -> None:
        headers = [*answer.headers, (b"content-length", str(len(answer.body)).encode())]
        await self._send({"type": "http.response.start", "status": answer.status, "headers": headers})

    async def _first_of(self, *ends: Awaitable[object]) -> None:
        """Waits until one of them has ended, and ends the others."""
        asked = [asyncio.ensure_future(end) for end in ends]
        _, waiting = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        for end in waiting:
            end.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


async def strike(fault: Fault, apply: Callable[[], Answer], wire: Wire, *, clock: Clock, late: Late) -> int | None:
    """Does what the fault says. The status that the client was sent, None where it got no whole answer."""
    kind = fault.kind
    if fault.delay_s and kind not in _PACED:
        await clock.sleep(fault.delay_s)
    made_up = _made_up(fault)
    at_once = kind in _APPLIED or (fault.applied and kind is not FaultKind.TIMEOUT_LATE)
    own = apply() if at_once else made_up
    match kind:
        case FaultKind.STATUS | FaultKind.GARBAGE:
            await wire.answer(made_up)
            return made_up.status
        case FaultKind.SLOW_BODY:
            await wire.answer_slowly(own, SLOW_BODY_DELAY_S if fault.delay_s is None else fault.delay_s)
            return own.status
        case FaultKind.TRUNCATED_JSON:
            await wire.cut_short(own)
        case FaultKind.TIMEOUT_BEFORE | FaultKind.TIMEOUT_AFTER:
            await wire.stay_silent(TIMEOUT_DELAY_S if fault.delay_s is None else fault.delay_s)
        case FaultKind.TIMEOUT_LATE:
            await wire.stay_silent_until(late.keep(apply, TIMEOUT_DELAY_S if fault.delay_s is None else fault.delay_s))
        case FaultKind.RESET_BEFORE | FaultKind.RESET_AFTER:
            await wire.drop(abrupt=True)
        case FaultKind.CLOSE_BEFORE | FaultKind.CLOSE_AFTER:  # pragma: no branch  # mypy proves that no case is left
            await wire.drop(abrupt=False)
    return None


def _made_up(fault: Fault) -> Answer:
    if fault.kind is FaultKind.GARBAGE:
        return page(200, "Sign in to the network")
    match fault.body:
        case "json":
            text = fault.message or f"The sandbox was told to answer {fault.status}"
            return error(fault.status, text, retry_after_s=fault.retry_after_s)
        case "html":
            return page(fault.status, fault.message or "Bad Gateway", retry_after_s=fault.retry_after_s)
        case "empty":  # pragma: no branch  # mypy proves that no case is left
            return nothing(fault.status, retry_after_s=fault.retry_after_s)
