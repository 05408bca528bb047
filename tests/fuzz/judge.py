"""What must hold of any request at its source: what may be raised, what may be said of it, what may be kept of it."""

import re
from typing import Final

import orjson

from service.errors import ParseError, RequestError, TooLarge, VerificationError
from service.model import Change, InboundRequest, Reply
from service.schema import events
from service.sources.base import EVENTS_MAX
from service.store.payloads import pack_change, pack_request
from tests.fuzz.ways import bodies_of, source_of
from tests.support.crm import NOW, Crm, as_event

SIDE_FACT: Final = re.compile(r"[A-Za-z0-9_.:/-]{1,100}")
CANARY: Final = ("Amara", "amara", "Okafor")
"""The contact's name, which no error may tell."""
NOT_PROVED: Final = VerificationError.name
GREETED: Final = "handshake"
ACCEPTED: Final = "accepted"
COLUMNS: Final = ("dedup_key", "object_type", "object_id", "crm_event_id")


def judged(way: Crm, kind: str, request: InboundRequest) -> str:
    """Let a source take a request of a kind; say what came of it: ``accepted``, or an error's name.

    What nobody signed must not count as proved, be it made up or altered on the way.
    """
    outcome = taken(way, request)
    if outcome not in {NOT_PROVED, GREETED}:
        assert kind != "random"
        assert kind != "altered" or not way.covers_body or request.body in bodies_of(way)
    return outcome


def taken(way: Crm, request: InboundRequest) -> str:
    """Let a source take a request as the pipeline would; say what came of it.

    Whether it is proved or not, it is parsed as well: nothing but the documented errors may come of that either.
    """
    source = source_of(way)
    greeting = source.handshake(request)
    if greeting is not None:
        assert_reply(greeting)
        return GREETED
    refusal: RequestError | None = None
    try:
        source.verify(request, now=NOW)
    except VerificationError as error:
        refusal = error
    try:
        changes = source.parse(request)
    except (ParseError, TooLarge) as error:
        refusal = refusal or error
    else:
        assert_kept(way, request, changes, proved=refusal is None)
    if refusal is None:
        assert_reply(source.accept(accepted=len(changes), duplicates=0))
        return ACCEPTED
    assert_tells_nothing(way, f"{refusal!r} {refusal.cause} {refusal.hint}")
    return refusal.name


def assert_kept(way: Crm, request: InboundRequest, changes: tuple[Change, ...], *, proved: bool) -> None:
    """The changes fit the log, and so does what is kept of the request: it reads the same, and holds no credential."""
    source = source_of(way)
    assert len(changes) <= EVENTS_MAX
    for change in changes:
        assert_fits(change)
    kept = source.redact(request)
    assert source.parse(kept) == changes
    assert pack_request(as_on_the_wire(kept))
    if proved:
        assert_no_credential(way, request, kept)


def assert_no_credential(way: Crm, request: InboundRequest, kept: InboundRequest) -> None:
    """The secret is gone from where it proved the request; one that stood elsewhere too was never the CRM's doing."""
    secret = way.secrets[0]
    assert secret not in kept.url
    assert not {"authorization", "cookie"} & kept.headers.keys()
    if f"{dict(request.headers)}".count(secret) <= 1:
        assert secret not in f"{dict(kept.headers)}"
    if request.body.count(secret.encode()) <= 1:
        assert secret.encode() not in kept.body


def assert_fits(change: Change) -> None:
    """A change fits the columns of the log, can be shown, and tells side facts alone outside its values."""
    for name in COLUMNS:
        text = getattr(change, name)
        width: int = getattr(events.c[name].type, "length", 0)
        assert text is None or (0 < len(text) <= width and "\x00" not in text), name
    for fact in (change.origin, change.actor, change.tenant):
        assert fact is None or SIDE_FACT.fullmatch(fact)
    assert pack_change(change)
    assert orjson.dumps(as_event(change))


def assert_reply(reply: Reply) -> None:
    """A sender is told something by a status that is no fault of ours, in headers that can be sent."""
    assert 200 <= reply.status < 500
    for name, value in reply.headers.items():
        assert f"{name}{value}".isprintable()
        assert value.encode("latin-1").decode("latin-1") == value


def assert_tells_nothing(way: Crm, told: str) -> None:
    """What is told of a refusal holds neither a secret nor the contact's name."""
    for word in (*way.secrets, *CANARY):
        assert word not in told


def as_on_the_wire(request: InboundRequest) -> InboundRequest:
    """Return the nearest request that HTTP can carry: text of its head in latin-1."""

    def text(value: str) -> str:
        return value.encode("latin-1", "replace").decode("latin-1")

    headers = {text(name): text(value) for name, value in request.headers.items()}
    return InboundRequest(text(request.method), text(request.url), headers, request.body)
