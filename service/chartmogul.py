"""The sink: the only code that talks to ChartMogul. It reports an Outcome and never decides what follows.

Contacts API: https://dev.chartmogul.com/reference/contacts/update. It has no idempotency key and no versions, so a
repeated PATCH is safe only because it carries absolute values and one contact's calls never overlap.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final, Self

import httpx
import orjson
from pydantic import SecretStr

from service import __version__
from service.model import Json, Outcome, OutcomeKind, Record

ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of an answer; a page of 200 contacts with long notes fits."""
DETAIL_MAX: Final = 300
"""Characters kept of ChartMogul's message."""
PAGES_MAX: Final = 5
"""Pages read of one search: more than 1,000 contacts with one email is nobody's contact."""
WRITE_TIMEOUT_S: Final = 10.0

_UUID: Final = re.compile(r"con_[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_STATUSES: Final = {
    400: OutcomeKind.REJECTED,
    401: OutcomeKind.ACCOUNT_REFUSED,
    402: OutcomeKind.ACCOUNT_REFUSED,
    403: OutcomeKind.ACCOUNT_REFUSED,
    404: OutcomeKind.CONTACT_GONE,
    422: OutcomeKind.REJECTED,
    429: OutcomeKind.RATE_LIMITED,
    500: OutcomeKind.SERVER_ERROR,
    502: OutcomeKind.UNREACHABLE,
    503: OutcomeKind.OVERLOADED,
    504: OutcomeKind.UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class Account:
    """How one ChartMogul account is called: its key, and at most so many calls at once."""

    name: str
    api_key: SecretStr
    parallel: int


@dataclass(frozen=True, slots=True)
class Search:
    """The contacts that a search found, or the outcome that kept it from an answer."""

    contacts: tuple[Record, ...] = ()
    failure: Outcome | None = None


Pace = Callable[[], Awaitable[None]]
"""Waits until the account's next call may be made. Every call to ChartMogul waits for it once."""


def is_contact_uuid(text: object) -> bool:
    """Say whether a text may stand in the path of a contact."""
    return isinstance(text, str) and _UUID.fullmatch(text) is not None


class ChartMogul:
    """One account's contacts. Each method makes its calls one after the other, and raises nothing of HTTP."""

    def __init__(
        self,
        account: Account,
        *,
        base_url: str,
        pace: Pace,
        connect_timeout_s: float,
        read_timeout_s: float,
        proxy: str | None = None,
    ) -> None:
        self.account = account
        self._pace = pace
        # Whoever waits, waits here or in the log: with more callers than connections, the pool itself would time out.
        self._parallel = asyncio.Semaphore(account.parallel)
        self._client = httpx.AsyncClient(
            base_url=base_url,
            auth=httpx.BasicAuth(account.api_key.get_secret_value(), ""),
            headers={"user-agent": f"crm-to-chartmogul/{__version__}", "accept": "application/json"},
            timeout=httpx.Timeout(read_timeout_s, connect=connect_timeout_s, write=WRITE_TIMEOUT_S),
            limits=httpx.Limits(max_connections=account.parallel, max_keepalive_connections=account.parallel),
            verify=httpx.create_ssl_context(),
            follow_redirects=False,
            trust_env=False,
            proxy=proxy,
        )
        # Slow bodies arrive in time for each read and yet never end: the whole call has a limit too.
        self._call_timeout_s = connect_timeout_s + read_timeout_s

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def patch(self, uuid: str, body: Record) -> Outcome:
        """Update a contact: ``PATCH /v1/contacts/{uuid}``. The outcome's answer is the contact as it stands after."""
        if not is_contact_uuid(uuid):
            return Outcome(OutcomeKind.REJECTED, detail="the contact's uuid is not one of ChartMogul's")
        outcome = await self._call("PATCH", f"/v1/contacts/{uuid}", content=orjson.dumps(body))
        if outcome.detail:
            return Outcome(
                outcome.kind,
                outcome.status,
                _without_values(outcome.detail, body),
                outcome.retry_after_s,
                outcome.answer,
            )
        return outcome

    async def search(self, filters: Mapping[str, str]) -> Search:
        """List the contacts that fit the filters: ``email``, ``customer_external_id``. At most 1,000 are read."""
        found: list[Record] = []
        cursor: str | None = None
        for _ in range(PAGES_MAX):
            params = {**filters, "per_page": "200"} if cursor is None else {**filters, "cursor": cursor}
            outcome = await self._call("GET", "/v1/contacts", params=params)
            if outcome.kind is not OutcomeKind.APPLIED or outcome.answer is None:
                return Search(failure=_search_failure(outcome, filters))
            entries, more = outcome.answer.get("entries"), outcome.answer.get("has_more")
            found += [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
            next_cursor = outcome.answer.get("cursor")
            if more is not True or not isinstance(next_cursor, str):
                break
            cursor = next_cursor
        return Search(tuple(found))

    async def ping(self) -> Outcome:
        """Check the key: ``GET /v1/ping``."""
        return await self._call("GET", "/v1/ping")

    async def _call(
        self, method: str, path: str, *, content: bytes | None = None, params: Mapping[str, str] | None = None
    ) -> Outcome:
        headers = {"content-type": "application/json"} if content is not None else {}
        async with self._parallel:
            await self._pace()
            try:
                async with (
                    asyncio.timeout(self._call_timeout_s),
                    self._client.stream(method, path, content=content, params=params, headers=headers) as response,
                ):
                    return _outcome(response, await _read(response))
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
                return Outcome(OutcomeKind.UNREACHABLE, detail=type(error).__name__)
            except (httpx.HTTPError, TimeoutError) as error:
                # The request, or a part of it, was sent: whether it was applied, nobody knows.
                return Outcome(OutcomeKind.UNKNOWN, detail=type(error).__name__)


async def _read(response: httpx.Response) -> bytes | None:
    """Return the body, or None when it is longer than any answer we understand."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.aiter_bytes():
        size += len(chunk)
        if size > ANSWER_BYTES_MAX:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _outcome(response: httpx.Response, body: bytes | None) -> Outcome:
    status = response.status_code
    document = _document(body)
    if response.is_success:
        if document is None:
            return Outcome(OutcomeKind.UNKNOWN, status, "the answer is not a JSON object")
        return Outcome(OutcomeKind.APPLIED, status, answer=document)
    if status >= 500:  # noqa: PLR2004  # HTTP's own line between theirs and ours
        kind = _STATUSES.get(status, OutcomeKind.UNREACHABLE)
    else:
        kind = _STATUSES.get(status, OutcomeKind.REJECTED)
    return Outcome(kind, status, _detail(document, body), _retry_after_s(response))


def _document(body: bytes | None) -> Record | None:
    try:
        document = orjson.loads(body or b"")
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None


def _detail(document: Record | None, body: bytes | None) -> str:
    """Return the message in any of the shapes that ChartMogul's errors have."""
    if document is None:
        return "" if not body else "an answer that is not JSON"
    for key in ("message", "error"):
        text = document.get(key)
        if isinstance(text, str):
            param = document.get("param")
            return (f"{text} ({param})" if isinstance(param, str) else text)[:DETAIL_MAX]
    return orjson.dumps(document.get("errors") or document).decode()[:DETAIL_MAX]


def _retry_after_s(response: httpx.Response) -> float | None:
    """Return the seconds that were asked for; a date, which ChartMogul was never seen to send, counts as nothing."""
    text = response.headers.get("retry-after", "")
    return float(text) if re.fullmatch(r"\d{1,6}(\.\d{1,3})?", text) else None


def _search_failure(outcome: Outcome, filters: Mapping[str, str]) -> Outcome:
    """A search that finds no route or no such customer has not lost a contact."""
    kind = OutcomeKind.REJECTED if outcome.kind is OutcomeKind.CONTACT_GONE else outcome.kind
    # A read changes nothing: what is not known of it can be asked again.
    kind = OutcomeKind.UNREACHABLE if kind in {OutcomeKind.UNKNOWN, OutcomeKind.APPLIED} else kind
    return replace(outcome, kind=kind, detail=_without_values(outcome.detail, filters), answer=None)


def _without_values(detail: str, body: Json | Mapping[str, Json] | Mapping[str, str]) -> str:
    """Take out of a message every value that was sent: messages are shown and logged, values are not."""
    if isinstance(body, Mapping):
        for value in body.values():
            detail = _without_values(detail, value)
    elif isinstance(body, list):
        for value in body:
            detail = _without_values(detail, value)
    elif isinstance(body, str) and len(body) > 1:
        detail = detail.replace(body, "…")
    return detail
