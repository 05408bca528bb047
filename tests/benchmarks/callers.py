"""``python -m tests.benchmarks.callers KIND PORT FILE``: the same PATCHes by one HTTP client and nothing around it.

``sink``           what the service sends with, outcome and all, without pace, log or mapping
``client``         the HTTP client within it, each answer read whole
``httpx``          httpx as anybody would set it up for this
``httpx-aiohttp``  the same over aiohttp's connections, where that package is there
``chartmogul``     ChartMogul's own client, in threads

Each makes 20 calls at a time. FILE holds a call a line; what comes out is one JSON object.
"""

import asyncio
import importlib
import importlib.util
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final

import chartmogul
import httpx
import orjson
import uvloop
from pydantic import SecretStr

from service.chartmogul import Account, ChartMogul
from service.model import OutcomeKind
from tests.support.service import API_KEY

PARALLEL: Final = 20
TIMEOUT_S: Final = 30.0
JSON: Final = {"content-type": "application/json"}
KINDS: Final = (
    "httpx",
    *(["httpx-aiohttp"] if importlib.util.find_spec("httpx_aiohttp") else []),
    "chartmogul",
)
"""The clients to choose from."""

_Call = tuple[str, Any]
"""The uuid of a contact, and what to send."""
_Figures = dict[str, float]
_Patch = Callable[[str, Any], Awaitable[bool]]


def main() -> None:
    """Make the calls; print what came of them."""
    kind, port, file = sys.argv[1:]
    calls: list[_Call] = [tuple(orjson.loads(line)) for line in Path(file).read_bytes().splitlines()]
    url = f"http://127.0.0.1:{port}"
    figures = _in_threads(url, calls) if kind == "chartmogul" else uvloop.run(_in_tasks(kind, url, calls))
    sys.stdout.buffer.write(orjson.dumps(figures))


async def _in_tasks(kind: str, url: str, calls: Sequence[_Call]) -> _Figures:
    if kind in {"sink", "client"}:
        account = Account("default", SecretStr(API_KEY), PARALLEL)
        sink = ChartMogul(
            account, base_url=url, turn=nullcontext, connect_timeout_s=TIMEOUT_S, read_timeout_s=TIMEOUT_S
        )
        async with sink:
            return await _together(_by_sink(sink) if kind == "sink" else _by_client(sink._client), calls)
    made = httpx.AsyncClient if kind == "httpx" else importlib.import_module("httpx_aiohttp").HttpxAiohttpClient
    limits = httpx.Limits(max_connections=PARALLEL, max_keepalive_connections=PARALLEL)
    async with made(base_url=url, auth=(API_KEY, ""), timeout=TIMEOUT_S, limits=limits, trust_env=False) as client:
        return await _together(_by_client(client), calls)


async def _together(patch: _Patch, calls: Iterable[_Call]) -> _Figures:
    left, answers = iter(calls), list[bool]()

    async def work() -> None:
        for uuid, body in left:
            answers.append(await patch(uuid, body))

    begun = _now()
    await asyncio.gather(*(work() for _ in range(PARALLEL)))
    return _figures(begun, answers)


def _by_sink(sink: ChartMogul) -> _Patch:
    async def patch(uuid: str, body: Any) -> bool:  # noqa: ANN401  # whatever JSON can hold
        return (await sink.patch(uuid, body)).kind is OutcomeKind.APPLIED

    return patch


def _by_client(client: httpx.AsyncClient) -> _Patch:
    async def patch(uuid: str, body: Any) -> bool:  # noqa: ANN401  # whatever JSON can hold
        answer = await client.patch(f"/v1/contacts/{uuid}", content=orjson.dumps(body), headers=JSON)
        return answer.status_code == httpx.codes.OK

    return patch


def _in_threads(url: str, calls: Iterable[_Call]) -> _Figures:
    config = chartmogul.Config(API_KEY, request_timeout=TIMEOUT_S)
    config.uri = f"{url}/v1"

    def patch(call: _Call) -> bool:
        uuid, body = call
        answer: str = chartmogul.Contact.modify(config, uuid=uuid, data=body).get().uuid
        return answer == uuid

    with ThreadPoolExecutor(PARALLEL) as threads:
        begun = _now()
        return _figures(begun, [*threads.map(patch, calls)])


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _figures(begun: tuple[float, float], answers: Sequence[bool]) -> _Figures:
    """Say how many answers were right, and what wall and processor time all took."""
    (started, used), (ended, now_used) = begun, _now()
    return {"right": sum(answers), "seconds": ended - started, "cpu_s": now_used - used}


if __name__ == "__main__":
    main()
