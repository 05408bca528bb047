"""The only code that talks to CRMs: gathers ids into few calls, keeps the pace, and says what came of each record."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx
import orjson

from service import __version__
from service.errors import DeliveryError, Postponed
from service.model import Json, Outcome, OutcomeKind
from service.readback.base import Call, Reader, ReadError, Reading, TokenSpec
from service.readback.tokens import Token
from service.wire import bounded_body, json_or_none, retry_after_s

ANSWER_BYTES_MAX: Final = 8 * 1024 * 1024
"""Of an answer; a hundred records with long notes fit."""
GATHER_S: Final = 0.02
"""How long a call waits for further ids, where one call can take several."""
REFUSED_HOLD_S: Final = 60.0
"""How long nothing is asked after the credentials were refused: each try would fail alike."""
LIMITED_HOLD_S: Final = 10.0
"""The same after a 429 that does not say how long."""
HOLD_S_MAX: Final = 3600.0
"""More than an hour of Retry-After is not believed."""
FUTURE_MAX: Final = timedelta(hours=1)
"""A record's time of change further ahead of our clock than this is not believed: then the time of the read counts."""
KNOWN_FOR: Final = timedelta(hours=1)
"""How long it is believed that the CRM is where we ask, after it gave anything: then what it has not is gone."""
READ_TIMEOUT_S: Final = 15.0
"""For an answer, at most: whoever waits for it has a lease that runs out."""
WAIT_S_MAX: Final = 10.0
"""Who would wait longer for its turn gives its delivery back instead."""

_GONE: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_STATUSES: Final[Mapping[int, OutcomeKind]] = {
    401: OutcomeKind.CRM_REFUSED,
    403: OutcomeKind.CRM_REFUSED,
    407: OutcomeKind.CRM_UNREACHABLE,
    408: OutcomeKind.CRM_UNREACHABLE,
    429: OutcomeKind.CRM_RATE_LIMITED,
}
_HOLDS: Final = {OutcomeKind.CRM_REFUSED: REFUSED_HOLD_S, OutcomeKind.CRM_RATE_LIMITED: LIMITED_HOLD_S}


class _Alone(Enum):
    """That a record must be asked for by itself: its CRM does not take one of those it was asked for with."""

    ALONE = "alone"


Result = Reading | Outcome | Postponed | _Alone | None
"""What came of one record; None: it is gone."""


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """One record that a delivery waits for."""

    object_id: str
    result: asyncio.Future[Result]


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a call brought: a document, nothing because all of its records are gone, or an outcome."""

    document: Json = field(default=None, repr=False)
    gone: bool = False
    failure: Outcome | None = None


class ReadBack:
    """The present records of one source's CRM. Reading changes nothing there, so whatever fails may be asked again.

    ``fields`` are the names that the mapping and the way of resolving need. At most ``reader.parallel`` calls run at
    once, ``reader.rate_per_s`` begin a second, and each asks for as many of the waiting records as the CRM allows.
    """

    def __init__(
        self,
        reader: Reader[Any],
        *,
        fields: Sequence[str],
        connect_timeout_s: float,
        clock: Callable[[], datetime],
        read_timeout_s: float = READ_TIMEOUT_S,
        wait_s: float = WAIT_S_MAX,
    ) -> None:
        self.reader = reader
        self.trouble: Outcome | None = None
        """Why the last call failed, None once one worked."""
        self._fields = tuple(fields)
        self._clock = clock
        grant = reader.grant
        self._token = None if grant is None else Token(grant)
        self._renewing = asyncio.Lock()
        self._places = asyncio.Semaphore(reader.parallel)
        self._waiting: deque[_Asked] = deque()
        self._next_at = 0.0
        self._held_until: datetime | None = None
        self._known_until: datetime | None = None
        self._stopped = False
        self._wait_s = wait_s
        self._call_timeout_s = connect_timeout_s + read_timeout_s
        self._client = httpx.AsyncClient(
            base_url=reader.spec.base_url or reader.host,
            headers={"user-agent": f"crm-to-chartmogul/{__version__}", "accept": "application/json"},
            timeout=httpx.Timeout(read_timeout_s, connect=connect_timeout_s, write=read_timeout_s),
            limits=httpx.Limits(max_connections=reader.parallel, max_keepalive_connections=reader.parallel),
            verify=httpx.create_ssl_context(),
            follow_redirects=False,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def read(self, object_id: str) -> Reading | None:
        """Return the record as the CRM has it now, with the time that it is of; None if it is gone.

        Raises DeliveryError with an outcome ``CRM_…``, or Postponed: while nothing is asked, where no call comes free
        in time, and where another's call that had this record too was broken off.
        """
        self._refuse_to_wait_long()
        result = await self._together(object_id)
        while isinstance(result, _Alone):
            result = await self._by_itself(object_id)
        match result:
            case Outcome() as outcome:
                raise DeliveryError(outcome)
            case Postponed() as postponed:
                raise postponed
            case _:
                return result

    async def probe(self) -> Outcome:
        """Try the credentials, and say what came of it: APPLIED, UNCHANGED where this CRM has no call for that."""
        call = self.reader.probe()
        if call is None:
            return Outcome(OutcomeKind.UNCHANGED, detail="not tried")
        answer = await self._call(call)
        if answer.gone:
            return Outcome(OutcomeKind.CRM_REJECTED, HTTPStatus.NOT_FOUND, "what `read_back` names is not there")
        return answer.failure or Outcome(OutcomeKind.APPLIED)

    def stop(self) -> None:
        """Ask nothing more: the service is stopping, and reading changes nothing."""
        self._stopped = True

    async def _together(self, object_id: str) -> Result:
        """Ask for a record with whichever others wait, or be asked for with them."""
        asked = _Asked(object_id, asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        try:
            async with self._place():
                if asked in self._waiting:
                    await self._turn()
                if asked in self._waiting:
                    await self._ask(self._take(asked))
        except Postponed:
            if asked in self._waiting:
                raise
            # Somebody else's call has it: that is under way, or over.
        finally:
            if asked in self._waiting:
                self._waiting.remove(asked)
        return await asked.result

    async def _by_itself(self, object_id: str) -> Result:
        async with self._place():
            await self._turn()
            return (await self._read_all([object_id]))[object_id]

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """Keep one of the calls that may run at once. Raises Postponed where none comes free: calls hang, say."""
        try:
            async with asyncio.timeout(self._wait_s):
                await self._places.acquire()
        except TimeoutError:
            raise Postponed(self._clock()) from None
        try:
            yield
        finally:
            self._places.release()

    def _refuse_to_wait_long(self) -> None:
        self._refuse_while_held()
        wait_s = len(self._waiting) / self.reader.batch_max / self.reader.rate_per_s
        if wait_s > self._wait_s:
            raise Postponed(self._clock() + timedelta(seconds=wait_s))

    async def _turn(self) -> None:
        """Wait until the next call may begin. Raises Postponed while none may."""
        self._refuse_while_held()
        loop = asyncio.get_running_loop()
        gather_s = GATHER_S if self.reader.batch_max > 1 else 0.0
        at = max(self._next_at, loop.time() + gather_s)
        self._next_at = at + 1 / self.reader.rate_per_s
        await asyncio.sleep(at - loop.time())
        self._refuse_while_held()

    def _refuse_while_held(self) -> None:
        now = self._clock()
        if self._stopped:
            raise Postponed(now)
        if self._held_until is not None and now < self._held_until:
            raise Postponed(self._held_until)

    def _take(self, asked: _Asked) -> list[_Asked]:
        """Take a record that waits, and of the others as many as go along."""
        self._waiting.remove(asked)
        more = min(self.reader.batch_max - 1, len(self._waiting))
        return [asked, *(self._waiting.popleft() for _ in range(more))]

    async def _ask(self, batch: Sequence[_Asked]) -> None:
        """Read the records of a batch, for everybody who waits for one of them."""
        results: Mapping[str, Result] = {}
        try:
            results = await self._read_all(list(dict.fromkeys(asked.object_id for asked in batch)))
        finally:
            broken_off = Postponed(self._clock())
            for asked in batch:
                if not asked.result.done():
                    asked.result.set_result(results.get(asked.object_id, broken_off))

    async def _read_all(self, object_ids: Sequence[str]) -> dict[str, Result]:
        asked_at = self._clock()
        answer = await self._call(self.reader.call(object_ids, self._fields))
        failure = answer.failure
        if failure is not None and failure.kind is OutcomeKind.CRM_REJECTED and len(object_ids) > 1:
            return dict.fromkeys(object_ids, _Alone.ALONE)
        if failure is not None:
            return dict.fromkeys(object_ids, failure)
        if answer.gone:
            return dict.fromkeys(object_ids, await self._why_nothing_is_there())
        try:
            found = self.reader.read(answer.document, object_ids)
        except ReadError as error:
            return dict.fromkeys(object_ids, self._failed(Outcome(OutcomeKind.CRM_UNREACHABLE, detail=str(error))))
        return {one: _as_of(found[one], asked_at) if one in found else None for one in object_ids}

    async def _why_nothing_is_there(self) -> Outcome | None:
        """Return None where the CRM is known to be here: at a wrong place, every record would look gone."""
        if self._known_until is not None and self._clock() < self._known_until:
            return None
        outcome = await self.probe()
        return None if outcome.kind in {OutcomeKind.APPLIED, OutcomeKind.UNCHANGED} else self._failed(outcome)

    async def _call(self, call: Call) -> _Answer:
        """Make a call, getting a token for it where that is needed, all within the time that a call may take."""
        try:
            async with asyncio.timeout(self._call_timeout_s):
                answer = await self._proved(call)
        except TimeoutError as error:
            answer = _Answer(failure=Outcome(OutcomeKind.CRM_UNREACHABLE, detail=type(error).__name__))
        if answer.failure is not None:
            self._failed(answer.failure)
            return answer
        self.trouble = None
        if not answer.gone:
            self._known_until = self._clock() + KNOWN_FOR
        return answer

    async def _proved(self, call: Call) -> _Answer:
        token = await self._access()
        if isinstance(token, Outcome):
            return _Answer(failure=token)
        answer = await self._send(call, token)
        refused = answer.failure is not None and answer.failure.status == HTTPStatus.UNAUTHORIZED
        if self._token is None or not refused:
            return answer
        self._token.forget(token)  # it may have been revoked before its time
        token = await self._access()
        return _Answer(failure=token) if isinstance(token, Outcome) else await self._send(call, token)

    async def _access(self) -> str | Outcome:
        """Return an access token, or the outcome that kept it from us."""
        if self._token is None:
            spec = self.reader.spec
            return spec.token.get_secret_value() if isinstance(spec, TokenSpec) else ""
        async with self._renewing:
            now = self._clock()
            if (token := self._token.valid(now)) is not None:
                return token
            grant = self._token.grant
            url = grant.url if self.reader.spec.base_url is None else urlsplit(grant.url).path
            answer = await self._exchange(self._client.build_request("POST", url, data=dict(grant.form)))
            if answer.failure is not None:
                refused = answer.failure.kind is OutcomeKind.CRM_REJECTED  # by RFC 6749, 400 is its refusal
                kind = OutcomeKind.CRM_REFUSED if refused else answer.failure.kind
                why = "no access token" if answer.failure.status else f"no access token: {answer.failure.detail}"
                return self._failed(replace(answer.failure, kind=kind, detail=why))
            try:
                self._token.take(answer.document, now=now)
            except ReadError as error:
                return self._failed(Outcome(OutcomeKind.CRM_REFUSED, detail=str(error)))
            return self._token.valid(now) or self._failed(Outcome(OutcomeKind.CRM_REFUSED, detail="no lasting token"))

    async def _send(self, call: Call, token: str) -> _Answer:
        content = None if call.body is None else orjson.dumps(call.body)
        headers = {**self.reader.headers(token), **({} if content is None else {"content-type": "application/json"})}
        request = self._client.build_request(
            call.method, call.path, params=call.params or None, content=content, headers=headers
        )
        return await self._exchange(request)

    async def _exchange(self, request: httpx.Request) -> _Answer:
        try:
            response = await self._client.send(request, stream=True)
            try:
                return _answer(response, await bounded_body(response, ANSWER_BYTES_MAX))
            finally:
                await response.aclose()
        except httpx.HTTPError as error:
            return _Answer(failure=Outcome(OutcomeKind.CRM_UNREACHABLE, detail=type(error).__name__))

    def _failed(self, outcome: Outcome) -> Outcome:
        """Remember why, and ask nothing for a while where asking again would fail alike."""
        self.trouble = outcome
        if (hold_s := _HOLDS.get(outcome.kind)) is not None:
            asked_s = min(outcome.retry_after_s or hold_s, HOLD_S_MAX)
            until = self._clock() + timedelta(seconds=asked_s)
            self._held_until = max(until, self._held_until or until)  # of several answers, the longest wait counts
        return outcome


def _answer(response: httpx.Response, body: bytes | None) -> _Answer:
    status, document = response.status_code, json_or_none(body)
    if response.is_success and (document is not None or body == b""):
        return _Answer(document)
    if status in _GONE and document is not None:  # else whoever answers there, it is not the CRM
        return _Answer(gone=True)
    known = _STATUSES.get(status)
    if known is None:
        rejected = response.is_client_error and status not in _GONE
        known = OutcomeKind.CRM_REJECTED if rejected else OutcomeKind.CRM_UNREACHABLE
    detail = "an answer that is not JSON" if document is None else "see the CRM's log of API calls"
    return _Answer(failure=Outcome(known, status, detail, retry_after_s(response)))


def _as_of(reading: Reading, asked_at: datetime) -> Reading:
    """Say of when a record is: its own time of change, or where it has none that can be, when it was asked for."""
    at = reading.updated_at
    return reading if at is not None and at <= asked_at + FUTURE_MAX else replace(reading, updated_at=asked_at)
