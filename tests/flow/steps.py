"""What the flow's tests do and look at again and again."""

import contextlib
from collections.abc import Callable
from typing import Any, Final

from service.main import real_clock
from service.store.replay import Batch, Selection
from tests.support.sandbox import RunningSandbox
from tests.support.service import Running, Shifted

T0: Final = real_clock()
RETRY_FOR_S: Final = "3600"

Started = Callable[..., contextlib.AbstractAsyncContextManager[Running]]
"""Starts the service with a configuration and settings."""


def patched(sandbox: RunningSandbox) -> list[Any]:
    """Return the bodies of every PATCH, in order, as far as they have arrived."""
    return [request["body"] for request in sandbox.requests("PATCH") if "body" in request]


async def states(service: Running) -> list[str]:
    """Return where each event stands, oldest first."""
    return [line["state"] for line in await service.events()]


async def last_delivery(service: Running) -> dict[str, Any]:
    """Return the delivery that was opened last."""
    return (await service.deliveries())[-1]


def later(service: Running, shifted: Shifted, seconds: float = 1000) -> None:
    """Let every wait be over."""
    shifted.advance(seconds)
    service.service.worker.wake()


async def replay(service: Running, shifted: Shifted, selection: Selection, **how: Any) -> Batch:  # noqa: ANN401  # as batch takes them
    """Replay what a selection means, in one batch, and let the worker know."""
    batch = await service.store.replays.batch(selection, now=shifted(), **how)
    service.service.worker.wake()
    return batch


async def books_close(service: Running) -> bool:
    """Say whether every change is accounted for."""
    return (await service.store.ledger.audit()).findings == ()
