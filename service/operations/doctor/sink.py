"""Whether ChartMogul answers and is ChartMogul, whether its clock and ours agree, and whether each key works."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx
from pydantic import SecretStr

from service.chartmogul import Account, ChartMogul
from service.model import OutcomeKind
from service.operations.doctor.clocks import compared
from service.operations.doctor.finding import Finding, Status, in_words
from service.retry import HINTS

EXPIRY_WARNS: Final = timedelta(days=14)
"""A certificate that ends sooner is worth a warning: those that renew themselves did so before."""

_PING: Final = "/v1/ping"
_PASSING: Final = frozenset({OutcomeKind.RATE_LIMITED, OutcomeKind.OVERLOADED})


@dataclass(frozen=True, slots=True)
class Reach:
    """How ChartMogul is reached, and the key of each account."""

    base_url: str
    keys: Mapping[str, SecretStr]
    connect_timeout_s: float
    read_timeout_s: float
    proxy: SecretStr | None = None


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen of whoever answers at ChartMogul's address. ``failure`` is why nobody did."""

    failure: str | None = None
    certificate_ends: datetime | None = None
    their_time: datetime | None = None
    our_time: datetime | None = None


async def of_chartmogul(reach: Reach, *, clock: Callable[[], datetime]) -> list[Finding]:
    """Look at the address first; no key is shown to one that is not to be trusted."""
    sight = await _look(reach, clock)
    findings = [_address(reach, sight, clock())]
    if sight.failure is not None:
        return findings
    if sight.their_time is not None and sight.our_time is not None:
        findings.append(compared("ChartMogul's", sight.their_time, ours=sight.our_time))
    for name, key in reach.keys.items():
        findings.append(await _account(reach, name, key))
    return findings


async def _look(reach: Reach, clock: Callable[[], datetime]) -> Sight:
    """Ask without a key: an answer of any kind tells who answers, and their time."""
    try:
        async with (
            asyncio.timeout(reach.connect_timeout_s + reach.read_timeout_s),
            httpx.AsyncClient(
                base_url=reach.base_url,
                timeout=httpx.Timeout(reach.read_timeout_s, connect=reach.connect_timeout_s),
                verify=httpx.create_ssl_context(),
                trust_env=False,
                proxy=None if reach.proxy is None else reach.proxy.get_secret_value(),
            ) as client,
        ):
            before = clock()
            async with client.stream("GET", _PING) as response:
                return Sight(None, _certificate_ends(response), _time_of(response), before + (clock() - before) / 2)
    except (httpx.HTTPError, TimeoutError) as error:
        return Sight(_why(error))


def _certificate_ends(response: httpx.Response) -> datetime | None:
    connection: Any = response.extensions["network_stream"].get_extra_info("ssl_object")
    if connection is None:
        return None
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(connection.getpeercert()["notAfter"]), UTC)


def _time_of(response: httpx.Response) -> datetime | None:
    try:
        return parsedate_to_datetime(response.headers.get("date", "")).astimezone(UTC)
    except ValueError:
        return None


def _why(error: BaseException) -> str:
    """Say why there was no answer: the certificate's fault is told in the words of TLS."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted: {cause.verify_message}"
    return f"nobody answers: {type(error).__name__}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _address(reach: Reach, sight: Sight, now: datetime) -> Finding:
    url = reach.base_url
    if sight.failure is not None:
        hint = "check the network, CHARTMOGUL_BASE_URL, CHARTMOGUL_PROXY and this machine's CA certificates"
        return Finding("chartmogul", "", "fail", f"{url}: {sight.failure}", hint)
    if sight.certificate_ends is None:
        return Finding("chartmogul", "", "ok", f"{url} answers, by plain http on this machine")
    left = sight.certificate_ends - now
    seen = f"{url} answers; its certificate is accepted and ends in {left.days} days"
    if left < EXPIRY_WARNS:
        return Finding("chartmogul", "", "warn", seen, "whoever answers there must renew it; then nothing more is sent")
    return Finding("chartmogul", "", "ok", seen)


async def _account(reach: Reach, name: str, key: SecretStr) -> Finding:
    """Try one key. The call takes no turn of the account's pace: that is in the log, which may be what is ill."""
    loop = asyncio.get_running_loop()
    async with ChartMogul(
        Account(name, key, parallel=1),
        base_url=reach.base_url,
        turn=_at_once,
        connect_timeout_s=reach.connect_timeout_s,
        read_timeout_s=reach.read_timeout_s,
        proxy=None if reach.proxy is None else reach.proxy.get_secret_value(),
    ) as sink:
        begun = loop.time()
        outcome = await sink.ping()
        took_ms = round((loop.time() - begun) * 1000)
    if outcome.kind is OutcomeKind.APPLIED:
        seen = f"the key works, answered after {took_ms} ms; whether it may write shows at the first PATCH"
        return Finding("account", name, "ok", seen)
    status: Status = "warn" if outcome.kind in _PASSING else "fail"
    return Finding("account", name, status, in_words(outcome), HINTS[outcome.kind])


@contextlib.asynccontextmanager
async def _at_once() -> AsyncIterator[None]:
    yield
