"""Why a captured request is not proved: likely changes to it are tried, each by its source's own ``verify``; pure.

No signature is computed here, and nothing is known of any preset: what a proof covers is found by altering a sample of
the source's own. First each change by itself, then two at a time, up to 500 tries. What is told names headers, places
and configured names, never a secret, a header's value or a body.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from service.errors import RequestError, ServiceError, VerificationError
from service.model import InboundRequest
from service.operations.proof.addresses import address_twists, as_seen
from service.operations.proof.bodies import body_twists
from service.operations.proof.clocks import clock_twists
from service.operations.proof.headers import header_twists
from service.operations.proof.secrets import other_secret_twists, secret_twists
from service.operations.proof.twist import RANK, Try, Twist, taking_turns
from service.sources.base import Sample, Source

TRIES_MAX: Final = 500
"""Proofs that are tried for one request."""
FOUND_MAX: Final = 3
"""Single causes that are told, where several fit."""
CLOCKS_MAX: Final = 2
"""Times as of which everything else is tried too."""

_ELSEWHERE: Final = "https://elsewhere.invalid/"
_MISSING: Final = re.compile("^the header ([a-z0-9-]+) is missing$")
_METHODS: Final = ("POST", "PUT", "PATCH", "GET")


@dataclass(frozen=True, slots=True)
class Cause:
    """Something that explains the refusal: a stable name, what would be so, and what to do."""

    name: str
    says: str
    do: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Whether a request is proved; if not why, and each explanation: one cause, or two that only fit together.

    ``note`` says how it is taken where no proof was asked for; ``guess`` what is most likely where nothing explains it.
    """

    source: str
    refusal: RequestError | None
    note: str = ""
    explanations: tuple[tuple[Cause, ...], ...] = ()
    tries: int = 1
    guess: str = ""


def diagnose(
    sources: Mapping[str, Source[Any]],
    name: str,
    captured: InboundRequest,
    *,
    public_url: str | None,
    now: datetime,
) -> Diagnosis:
    """Verify a captured request as the service would as of ``now``; where it is refused, find out why."""
    source = sources[name]
    first = Try(source, replace(captured, url=as_seen(captured, public_url)), now)
    if source.handshake(first.request) is not None:
        return Diagnosis(name, None, "a handshake, which is answered before any proof")
    refusal = _refusal(first)
    if refusal is None:
        return Diagnosis(name, None, "" if source.auth is not None else "this source asks for no proof")
    others = {known: other for known, other in sources.items() if known != name}
    search, covered = _Search(first), _covered(source, now)
    found = search.run(taking_turns(_twists(first, captured, others, covered)))
    told = tuple(tuple(Cause(twist.name, twist.says, twist.do) for twist in twists) for twists in found)
    return Diagnosis(name, refusal, "", told, search.tries, "" if told else _guess(refusal, covered))


def _refusal(attempt: Try) -> RequestError | None:
    if attempt.request.method != "POST":
        hint = "webhooks are taken by POST alone; a redirect on the way turns POST into GET"
        return VerificationError("the method is not POST", hint=hint)
    return attempt.refusal()


@dataclass(frozen=True, slots=True)
class _Covered:
    """What a source's proof covers, and the headers that it is read from; blank where that could not be found out."""

    method: bool = True
    address: bool = True
    body: bool = True
    time: bool = True
    headers: tuple[str, ...] = ()


def _covered(source: Source[Any], now: datetime) -> _Covered:
    """Alter one part after the other of a request that the source itself signed, and see which it misses."""
    try:
        sample = source.sample(Sample("4711", "proof", now, {}), url=f"{_ELSEWHERE}webhooks/proof", now=now)
    except (ServiceError, ValueError):
        return _Covered()
    if Try(source, sample, now).refusal() is not None:
        return _Covered()

    def missed(altered: InboundRequest, at: datetime = now) -> bool:
        return Try(source, altered, at).refusal() is not None

    # From both ends: a CRM may send a copy, of which either is enough.
    names = list(sample.headers)
    proofs = {*_needed(source, sample, names, now), *_needed(source, sample, names[::-1], now)}
    return _Covered(
        method=missed(replace(sample, method="PROOF")),
        address=missed(replace(sample, url=_ELSEWHERE)),
        body=missed(replace(sample, body=b"")),
        time=missed(sample, now + timedelta(days=2)),
        headers=tuple(name for name in names if name in proofs),
    )


def _needed(source: Source[Any], sample: InboundRequest, names: Iterable[str], now: datetime) -> Mapping[str, str]:
    """Take one header after the other away, as long as the rest is proof enough, and return what is left."""
    left = dict(sample.headers)
    for name in names:
        rest = {key: value for key, value in left.items() if key != name}
        if Try(source, replace(sample, headers=rest), now).refusal() is None:
            left = rest
    return left


def _guess(refusal: RequestError, covered: _Covered) -> str:
    if _MISSING.search(refusal.cause):
        return "whoever sent it was not told to prove itself so, or a proxy takes the header away"
    if not covered.body:
        return "the secret is most likely another one: give the CRM and the configuration the same one anew"
    return "the secret is most likely another one, or the body is not the one that was signed"


def _twists(
    first: Try, captured: InboundRequest, others: Mapping[str, Source[Any]], covered: _Covered
) -> Iterator[Twist]:
    """Yield every change that could matter to this source's proof."""
    if covered.time:
        yield from clock_twists(first.request, first.now)
    if covered.method or first.request.method != "POST":
        for method in _METHODS:
            do = "find out what changes the method on the way, such as a redirect"
            yield Twist("method", f"the method is {method}", do, _with_method(method))
    if covered.address:
        yield from address_twists(first.request.url, captured)
    if covered.body:
        yield from body_twists()
    named = () if (refusal := first.refusal()) is None else tuple(_MISSING.findall(refusal.cause))
    yield from header_twists(first.request.headers, dict.fromkeys((*covered.headers, *named)))
    yield from other_secret_twists(others)
    if first.source.auth is not None:
        yield from secret_twists(first.source.auth)


def _with_method(method: str) -> Callable[[Try], Try]:
    return lambda to: replace(to, request=replace(to.request, method=method))


class _Search:
    """Tries changes, no two that come to the same, until the tries are used up."""

    def __init__(self, first: Try) -> None:
        self.tries = 1
        self._first = first
        self._known: set[object] = {first.key}

    def run(self, twists: list[Twist]) -> list[tuple[Twist, ...]]:
        """Return the single changes that explain the refusal, each name once; else the first two that do together."""
        found: dict[str, Twist] = {}
        useful: list[Twist] = []
        for twist in twists[: TRIES_MAX - 1]:
            attempt = twist.apply(self._first)
            if attempt is None or attempt.key in self._known:
                continue
            useful.append(twist)
            if self._holds(attempt):
                found.setdefault(twist.name, twist)
        if found:
            likeliest = sorted(found.values(), key=lambda twist: RANK.index(twist.name))
            return [(twist,) for twist in likeliest[:FOUND_MAX]]
        for pair in self._pairs(useful):
            if self.tries >= TRIES_MAX:
                break
            if self._explains(pair):
                return [pair]
        return []

    def _pairs(self, twists: list[Twist]) -> Iterator[tuple[Twist, ...]]:
        """Yield pairs of different causes: the signed time with each other first, then the likeliest of all."""
        clocks = [twist for twist in twists if twist.name == "clock"]
        rest = [twist for twist in twists if twist.name != "clock"]
        # The time that was signed gives another reason: no longer the time, but what is wrong besides.
        told = sorted(clocks, key=self._same_reason)[:CLOCKS_MAX]
        yield from ((clock, twist) for clock in told for twist in rest)
        for total in range(2 * len(rest)):
            for place in range(max(0, total - len(rest) + 1), (total + 1) // 2):
                one, other = rest[place], rest[total - place]
                if one.name != other.name:
                    yield (one, other) if RANK.index(one.name) < RANK.index(other.name) else (other, one)

    def _same_reason(self, twist: Twist) -> bool:
        attempt, before = twist.apply(self._first), self._first.refusal()
        after = None if attempt is None else attempt.refusal()
        return before is None or after is None or before.cause == after.cause

    def _explains(self, pair: tuple[Twist, ...]) -> bool:
        attempt: Try | None = self._first
        for twist in pair:
            attempt = None if attempt is None else twist.apply(attempt)
        return attempt is not None and attempt.key not in self._known and self._holds(attempt)

    def _holds(self, attempt: Try) -> bool:
        self.tries += 1
        self._known.add(attempt.key)
        wrong_method = self._first.request.method != "POST" and attempt.request.method != "POST"
        return not wrong_method and attempt.refusal() is None
