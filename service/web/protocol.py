"""HTTP/1.1 with bounds that uvicorn leaves open: how large a request's head may be, and how long it may take."""

import asyncio
from typing import Any, Final

from starlette.types import Receive
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES_MAX: Final = 64 * 1024
"""Of the request line and the headers; what is read at once may exceed it by one read."""
HEAD_TIMEOUT_S: Final = 15.0
"""From a connection's first byte, or its opening, to the end of the headers."""


class BoundedHttp(HttpToolsProtocol):
    """Closes a connection whose head grows or drips past the bounds. Bodies are bounded where they are read."""

    head_bytes_max = HEAD_BYTES_MAX
    head_timeout_s = HEAD_TIMEOUT_S

    _head_bytes = 0
    _in_head = True
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401  # uvicorn's own signature is narrower
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._late = self.loop.call_later(self.head_timeout_s, self._give_up)

    def data_received(self, data: bytes) -> None:
        """Count what arrives until the head is whole."""
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self.head_bytes_max:
                self._give_up()

    def on_message_begin(self) -> None:
        """Begin a head; one that follows another on the same connection gets its own time."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        if self._late is None:
            self._late = self.loop.call_later(self.head_timeout_s, self._give_up)

    def on_headers_complete(self) -> None:
        """End the head: from here on, the application reads within its own bounds."""
        self._in_head = False
        self._stop_waiting()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self) -> None:
        self._stop_waiting()
        self.transport.close()


def is_whole(receive: Receive) -> bool:
    """Say whether a request's body has arrived already, so that receiving it waits for nothing.

    That is known of our own server alone; of any other it is never said.
    """
    return getattr(getattr(receive, "__self__", None), "more_body", True) is False
