"""The sink: the only code that talks to ChartMogul. It reports an Outcome and never decides what follows.

Contacts API: https://dev.chartmogul.com/reference/contacts/update. It has no idempotency key and no versions, so a
repeated PATCH is safe only because it carries absolute values and one contact's calls never overlap.
"""

import asyncio
import html
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from http import HTTPStatus
from types import MappingProxyType, TracebackType
from typing import Final, Self

import httpx
import orjson
from pydantic import SecretStr

from service import __version__
from service.model import Json, Outcome, OutcomeKind, Record
from service.wire import bounded_body, json_or_none, retry_after_s

ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of an answer; a page of 200 contacts with long notes fits."""
DETAIL_MAX: Final = 300
"""Characters kept of ChartMogul's message."""
SHORT: Final = 4
"""Characters below which a sent value is hidden in a message only where it is a word of its own: DE, not inDEx."""
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
    407: OutcomeKind.UNREACHABLE,
    408: OutcomeKind.UNREACHABLE,
    422: OutcomeKind.REJECTED,
    429: OutcomeKind.RATE_LIMITED,
    500: OutcomeKind.SERVER_ERROR,
    503: OutcomeKind.OVERLOADED,
}
"""What a status means. Any other 5xx is a gateway's: it may have lost the answer to a call that was applied."""


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


@dataclass(frozen=True, slots=True)
class Page:
    """One page of contacts and where the next one begins, None after the last; or the outcome that kept it away."""

    contacts: tuple[Record, ...] = ()
    cursor: str | None = None
    failure: Outcome | None = None


Turn = Callable[[], AbstractAsyncContextManager[None]]
"""Waits until the account's next call may be made, and lasts as long as it. Every call to ChartMogul has one."""


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
        turn: Turn,
        connect_timeout_s: float,
        read_timeout_s: float,
        proxy: str | None = None,
    ) -> None:
        self.account = account
        self._turn = turn
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
        return await self._call("PATCH", f"/v1/contacts/{uuid}", body=body)

    async def search(self, filters: Mapping[str, str]) -> Search:
        """List the contacts that fit the filters: ``email``, ``customer_external_id``. At most 1,000 are read."""
        found: list[Record] = []
        cursor: str | None = None
        for _ in range(PAGES_MAX):
            page = await self.page(filters, cursor=cursor)
            if page.failure is not None:
                return Search(failure=page.failure)
            found += page.contacts
            if (cursor := page.cursor) is None:
                break
        return Search(tuple(found))

    async def page(self, filters: Mapping[str, str] = MappingProxyType({}), *, cursor: str | None = None) -> Page:
        """List up to 200 contacts that fit the filters, from a cursor on; each is one call."""
        params = {**filters, "per_page": "200"} | ({} if cursor is None else {"cursor": cursor})
        outcome = await self._call("GET", "/v1/contacts", params=params)
        if outcome.kind is not OutcomeKind.APPLIED or outcome.answer is None:
            return Page(failure=_search_failure(outcome))
        entries, following = outcome.answer.get("entries"), outcome.answer.get("cursor")
        if not isinstance(entries, list):
            other = Outcome(OutcomeKind.UNKNOWN, outcome.status, "the answer is not a list of contacts")
            return Page(failure=_search_failure(other))
        # The cursor is there on the last page too.
        more = outcome.answer.get("has_more") is True and isinstance(following, str)
        contacts = tuple(entry for entry in entries if isinstance(entry, dict))
        return Page(contacts, str(following) if more else None)

    async def contact(self, uuid: str) -> Outcome:
        """Read a contact: ``GET /v1/contacts/{uuid}``. The outcome's answer is the contact; it changes nothing."""
        if not is_contact_uuid(uuid):
            return Outcome(OutcomeKind.REJECTED, detail="the contact's uuid is not one of ChartMogul's")
        return _of_a_read(await self._call("GET", f"/v1/contacts/{uuid}"))

    async def ping(self) -> Outcome:
        """Check the key: ``GET /v1/ping``."""
        return await self._call("GET", "/v1/ping")

    async def _call(
        self, method: str, path: str, *, body: Record | None = None, params: Mapping[str, str] | None = None
    ) -> Outcome:
        content = None if body is None else orjson.dumps(body)
        headers = {} if body is None else {"content-type": "application/json"}
        sent = body if params is None else params
        async with self._turn():
            try:
                async with (
                    asyncio.timeout(self._call_timeout_s),
                    self._client.stream(method, path, content=content, params=params, headers=headers) as response,
                ):
                    return _outcome(response, await bounded_body(response, ANSWER_BYTES_MAX), sent)
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
                return Outcome(OutcomeKind.UNREACHABLE, detail=type(error).__name__)
            except (httpx.HTTPError, TimeoutError) as error:
                # The request, or a part of it, was sent: whether it was applied, nobody knows.
                return Outcome(OutcomeKind.UNKNOWN, detail=type(error).__name__)


def _outcome(response: httpx.Response, body: bytes | None, sent: Record | Mapping[str, str] | None) -> Outcome:
    status = response.status_code
    document = _document(body)
    if response.is_success:
        if document is None:
            return Outcome(OutcomeKind.UNKNOWN, status, "the answer is not a JSON object")
        return Outcome(OutcomeKind.APPLIED, status, answer=document)
    if response.is_server_error:
        kind = _STATUSES.get(status, OutcomeKind.UNKNOWN)
    elif response.is_redirect or (status == HTTPStatus.NOT_FOUND and document is None):
        kind = OutcomeKind.UNREACHABLE  # whoever answers there, it is not ChartMogul
    else:
        kind = _STATUSES.get(status, OutcomeKind.REJECTED)
    detail = _without_values(_text(document, body), sent)[:DETAIL_MAX]
    return Outcome(kind, status, detail, retry_after_s(response))


def _document(body: bytes | None) -> Record | None:
    document = json_or_none(body)
    return document if isinstance(document, dict) else None


def _text(document: Record | None, body: bytes | None) -> str:
    """Return the message in any of the shapes that ChartMogul's errors have."""
    if document is None:
        return "" if not body else "an answer that is not JSON"
    for key in ("message", "error"):
        text = document.get(key)
        if isinstance(text, str):
            param = document.get("param")
            return f"{text} ({param})" if isinstance(param, str) else text
    return orjson.dumps(document.get("errors") or document).decode()


def _search_failure(outcome: Outcome) -> Outcome:
    """A search that finds no route or no such customer has not lost a contact."""
    kind = OutcomeKind.REJECTED if outcome.kind is OutcomeKind.CONTACT_GONE else outcome.kind
    return _of_a_read(replace(outcome, kind=kind))


def _of_a_read(outcome: Outcome) -> Outcome:
    """A read changes nothing: what is not known of it can be asked again."""
    kind = OutcomeKind.UNREACHABLE if outcome.kind is OutcomeKind.UNKNOWN else outcome.kind
    return replace(outcome, kind=kind)


def _without_values(text: str, sent: Record | Mapping[str, str] | None) -> str:
    """Take out of a message every value that was sent: messages are shown and logged, values are not.

    Values are found whatever their case, and as JSON or HTML writes them. Single characters stay.
    """
    written = {form for value in _values(sent) for form in _forms(value)} if text else set()
    # The longest first, so that no rest of one is left where another begins it.
    patterns = [_pattern(form) for form in sorted(written, key=len, reverse=True) if len(form) > 1]
    return re.sub("|".join(patterns), "…", text, flags=re.IGNORECASE) if patterns else text


def _values(sent: Json | Mapping[str, Json] | Mapping[str, str]) -> Iterator[str]:
    if isinstance(sent, Mapping):
        for name, value in sent.items():
            if name != "key":  # names of custom attributes are no values, and tell which one was refused
                yield from _values(value)
    elif isinstance(sent, list):
        for value in sent:
            yield from _values(value)
    elif sent is not None and not isinstance(sent, bool):
        yield str(sent).strip()


def _forms(value: str) -> tuple[str, ...]:
    return value, orjson.dumps(value).decode()[1:-1], html.escape(value)


def _pattern(form: str) -> str:
    return re.escape(form) if len(form) >= SHORT else rf"(?<!\w){re.escape(form)}(?!\w)"
