"""What waits in a log before anything is timed: put there by the service's own intake, in this process."""

import asyncio
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import uvloop

from service.config import Config, load
from service.main import build
from tests.benchmarks.bodies import inbound
from tests.benchmarks.ours import Service

AT_ONCE: Final = 256
"""Requests that share a commit: as many as the log takes into one."""


def configured(service: Service) -> Config:
    """Load what the service is configured with, as it does itself."""
    return load(service.environ, env_file=Path(service.environ["DATA_DIR"], ".env"))


def fill(service: Service, source: str, requests: Iterator[bytes]) -> int:
    """Receive requests into the log of a service that does not run; return how many of their changes were new.

    Each is verified, parsed and committed as one that came by HTTP.
    """
    return uvloop.run(_fill(configured(service), source, requests))


async def _fill(config: Config, source: str, requests: Iterator[bytes]) -> int:
    built, new = build(config), 0
    try:
        built.store.lock()
        await built.store.migrate()
        while group := list(islice(requests, AT_ONCE)):
            received = (built.pipeline.receive(config.sources[source], inbound(request)) for request in group)
            new += sum(receipt.accepted for receipt in await asyncio.gather(*received))
    finally:
        await built.store.close()
    return new
