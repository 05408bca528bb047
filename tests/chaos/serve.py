"""``python -m tests.chaos.serve``: the real service, which ends at a seam as if the power had failed.

Nothing of the service knows of it: what it composes is wrapped where the two halves meet the log and ChartMogul.
"""

import argparse
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, Final
from unittest import mock

from fastapi import FastAPI

from service import main
from service.config import Config, load
from service.main import Service
from service.model import OutcomeKind


class Seam(StrEnum):
    """Where a process ends: between two steps of which the second cannot know whether the first was done."""

    STORED = "stored"
    """A request's changes are in the log, and its sender has no answer."""
    ANSWERED = "answered"
    """A request was acknowledged: whatever was put off until after that is never done."""
    CLAIMED = "claimed"
    """Deliveries are leased, and nothing of them was sent."""
    APPLIED = "applied"
    """ChartMogul applied a PATCH, and the log does not know."""
    GIVEN_UP = "given up"
    """A PATCH got no answer that tells anything, and the log does not know that it may yet land."""


def serve(seam: Seam | None, passes: int) -> int:
    """Serve as ``crm-to-chartmogul serve`` does, until the seam is passed for the n-th time."""
    config = load()
    compose = main.create_app

    def create_app(config: Config) -> FastAPI:
        app = compose(config)
        if seam is not None:
            _cut(app, seam, _after(passes))
        return app

    with mock.patch.object(main, "create_app", create_app):
        return main.run_server(config)


def _cut(app: FastAPI, seam: Seam, count: Callable[[], None]) -> None:
    service: Service = app.state.service
    match seam:
        case Seam.STORED:
            _wrap(service.store.intake, "append", lambda _: count())
        case Seam.ANSWERED:
            _wrap(app, "hooks", lambda _: count())
        case Seam.CLAIMED:
            _wrap(service.store.deliveries, "claim", lambda claimed: count() if claimed else None)
        case Seam.APPLIED:
            for sink in service.sinks.values():
                _wrap(sink, "patch", lambda outcome: count() if outcome.kind is OutcomeKind.APPLIED else None)
        case Seam.GIVEN_UP:
            for sink in service.sinks.values():
                _wrap(sink, "patch", lambda outcome: count() if outcome.kind is OutcomeKind.UNKNOWN else None)


def _wrap(part: object, name: str, then: Callable[[Any], None]) -> None:
    """Let a part of the service do what it does, and then ``then`` with what came of it, before anybody else knows."""
    whole: Callable[..., Awaitable[Any]] = getattr(part, name)

    async def cut(*given: Any, **named: Any) -> Any:  # noqa: ANN401  # whatever it takes and gives
        result = await whole(*given, **named)
        then(result)
        return result

    setattr(part, name, cut)


def _after(passes: int) -> Callable[[], None]:
    left = passes

    def count() -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return count


_PARSER: Final = argparse.ArgumentParser(prog="python -m tests.chaos.serve", description=__doc__)
_PARSER.add_argument("--seam", type=Seam, choices=list(Seam), help="where it ends")
_PARSER.add_argument("--passes", type=int, default=1, help="at which pass")

if __name__ == "__main__":
    options = _PARSER.parse_args()
    sys.exit(serve(options.seam, options.passes))
