"""The limits are ChartMogul's, exact to the request, and each can be set or switched off."""

import asyncio

import httpx
import pytest

from service.sandbox import UNLIMITED, Clock, Limits, Settings, Switches, create_app
from service.sandbox.limits import Gate
from tests.support.sandbox import RunningSandbox

PING = "/v1/ping"


def gate(**limits: float | None) -> Gate:
    return Gate(Settings(limits=Limits(**{"parallel": None, "rate_per_s": None, **limits})))  # type: ignore[arg-type]


def statuses(gate: Gate, now: float, count: int) -> list[int]:
    answers = [gate.enter(now) for _ in range(count)]
    for _ in answers:
        gate.leave(spent_s=0)
    return [200 if answer is None else answer.status for answer in answers]


def test_the_forty_first_request_of_a_second_is_one_too_many() -> None:
    limited = gate(rate_per_s=40, burst=40)
    assert statuses(limited, 100.0, 41) == [200] * 40 + [429]
    assert statuses(limited, 100.5, 21) == [200] * 20 + [429]
    assert statuses(limited, 200.0, 41) == [200] * 40 + [429]


def test_a_refused_request_takes_no_token() -> None:
    limited = gate(rate_per_s=1, burst=1)
    assert statuses(limited, 0.0, 5) == [200, 429, 429, 429, 429]
    assert statuses(limited, 1.0, 2) == [200, 429]


def test_the_twenty_first_in_flight_is_one_too_many() -> None:
    limited = gate(parallel=20)
    assert statuses(limited, 0.0, 21) == [200] * 20 + [503]
    assert statuses(limited, 0.0, 20) == [200] * 20


def test_compute_time_is_a_budget_by_the_minute() -> None:
    limited = gate(compute_s_per_minute=6)
    assert limited.enter(0.0) is None
    limited.leave(spent_s=6.1)
    assert statuses(limited, 0.0, 1) == [429]
    assert statuses(limited, 0.9, 1) == [429]
    assert statuses(limited, 1.1, 1) == [200]


def test_a_429_has_the_documented_text_and_no_retry_after(sandbox: RunningSandbox, client: httpx.Client) -> None:
    sandbox.configure(Settings(limits=Limits(rate_per_s=0.001, burst=1)))
    assert client.get(PING).status_code == 200
    answer = client.get(PING)
    assert (answer.status_code, answer.json()) == (
        429,
        {"code": 429, "message": "Your request rate has exceeded our rate limit.", "param": None},
    )
    assert "retry-after" not in answer.headers
    sandbox.configure(Settings(limits=Limits(rate_per_s=0.001, burst=1, retry_after_s=2)))
    assert [client.get(PING).headers.get("retry-after") for _ in range(2)] == [None, "2"]


@pytest.mark.parametrize(("body", "start"), [("json", b'{"code":503'), ("html", b"<html>"), ("empty", b"")])
def test_a_503_has_the_body_that_its_switch_says(
    sandbox: RunningSandbox, client: httpx.Client, body: str, start: bytes
) -> None:
    settings = Settings(limits=Limits(parallel=0, retry_after_s=5), switches=Switches(overload_body=body))  # type: ignore[arg-type]
    sandbox.configure(settings)
    answer = client.get(PING)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.content.startswith(start)
    assert bool(answer.content) is bool(start)


def test_twenty_are_served_in_parallel_and_the_rest_refused() -> None:
    """All wait in the same latency; the sleep is let go only when all have arrived."""

    async def run() -> tuple[list[int], int, int]:
        let_go = asyncio.Event()

        async def sleep(_: float) -> None:
            await let_go.wait()

        app = create_app(settings=Settings(limits=Limits(rate_per_s=None), latency_ms=50), clock=Clock(sleep=sleep))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://sandbox", auth=("key", "")) as client:
            asking = [asyncio.ensure_future(client.get(PING)) for _ in range(25)]
            refused = 0
            while refused < 5:
                await asyncio.sleep(0)
                refused = sum(one.done() for one in asking)
            let_go.set()
            answers = [answer.status_code for answer in await asyncio.gather(*asking)]
        return answers, app.journal.in_flight_max, app.journal.answered("GET", 503)

    answers, in_flight_max, refused = asyncio.run(run())
    assert sorted(answers) == [200] * 20 + [503] * 5
    assert (in_flight_max, refused) == (21, 5), "a refused request is in flight only while it is refused"


def test_latency_and_jitter_delay_each_request() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def run() -> None:
        settings = Settings(limits=UNLIMITED, latency_ms=20, latency_jitter_ms=10)
        app = create_app(settings=settings, clock=Clock(sleep=sleep))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://sandbox") as client:
            for _ in range(20):
                await client.get(PING)

    asyncio.run(run())
    assert len(slept) == 20
    assert all(0.02 <= seconds < 0.03 for seconds in slept)
    assert len(set(slept)) > 1
