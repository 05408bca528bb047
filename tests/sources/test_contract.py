"""What every source promises, tried on each preset and each way to prove a sender; ``tests.fuzz`` tries the rest."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from service.errors import NotFound, ParseError, TooLarge, VerificationError
from service.model import Action, InboundRequest
from service.sources import PRESETS
from service.sources.base import EVENT_BYTES_MAX, EVENTS_MAX, Sample
from tests.support.crm import NOW, URL, Crm, as_event, build
from tests.support.crms import CRMS

MISSES: list[str | None] = [
    None,
    "",
    " ",
    "\x00",
    "ü",
    "Ключ",
    "\ud800",
    "=",
    ",",
    "v1",
    "v1,",
    "t=",
    "t=1,v1=",
    "Basic",
    "Basic !",
    "Basic Zm9v",
]
LONG: list[str | None] = ["9" * 20, "9" * 5000, "a" * 100_000, "t=1," * 5000, "v1,a " * 1000, "1e309", "-1", "²", "1_0"]

every = pytest.mark.parametrize("crm", CRMS, ids=lambda crm: crm.name)
with_values = pytest.mark.parametrize("crm", [crm for crm in CRMS if crm.has_values], ids=lambda crm: crm.name)
in_batches = pytest.mark.parametrize("crm", [crm for crm in CRMS if crm.batch is not None], ids=lambda crm: crm.name)
body_signed = pytest.mark.parametrize("crm", [crm for crm in CRMS if crm.covers_body], ids=lambda crm: crm.name)
time_signed = pytest.mark.parametrize("crm", [crm for crm in CRMS if crm.covers_time], ids=lambda crm: crm.name)


def with_headers(request: InboundRequest, headers: dict[str, str]) -> InboundRequest:
    return InboundRequest(request.method, request.url, headers, request.body)


def test_every_preset_is_under_the_contract() -> None:
    assert {crm.preset for crm in CRMS} == set(PRESETS)
    assert all(source.preset == name for name, source in PRESETS.items())


@every
def test_what_the_crm_signed_is_accepted_and_read(crm: Crm) -> None:
    source = crm.source(crm.secrets[0])
    request = crm.request(crm.secrets[0])
    source.verify(request, now=NOW)
    (change,) = source.parse(request)
    assert (change.object_id, change.action, change.ignored) == ("991", Action.UPDATED, None)
    assert (change.occurred_at is not None) is crm.tells_time
    assert as_event(change)["values"] or not crm.has_values


@every
def test_every_active_secret_is_accepted_and_a_retired_one_is_not(crm: Crm) -> None:
    current, following, retired = crm.secrets
    source = crm.source(current, following)
    for secret in (current, following):
        source.verify(crm.request(secret), now=NOW)
    with pytest.raises(VerificationError):
        source.verify(crm.request(retired), now=NOW)


@body_signed
def test_an_altered_body_is_refused(crm: Crm) -> None:
    """Also one that means the same: the signature is over bytes, not over what they say."""
    assert crm.mark in crm.body
    source, request = crm.source(crm.secrets[0]), crm.request(crm.secrets[0])
    for body in (request.body.replace(crm.mark, crm.mark.swapcase()), request.body + b" ", b""):
        with pytest.raises(VerificationError):
            source.verify(replace(request, body=body), now=NOW)


@time_signed
@pytest.mark.parametrize("seconds", [-300, 300])
def test_a_time_at_the_edge_of_the_window_is_accepted(crm: Crm, seconds: int) -> None:
    at = NOW + timedelta(seconds=seconds)
    crm.source(crm.secrets[0]).verify(crm.request(crm.secrets[0], at=at), now=NOW)


@time_signed
@pytest.mark.parametrize(("seconds", "where"), [(-301, "past"), (301, "future"), (-(10**9), "past"), (10**9, "future")])
def test_a_stale_or_future_time_is_refused(crm: Crm, seconds: int, where: str) -> None:
    at = NOW + timedelta(seconds=seconds)
    with pytest.raises(VerificationError, match=where):
        crm.source(crm.secrets[0]).verify(crm.request(crm.secrets[0], at=at), now=NOW)


@every
@pytest.mark.parametrize("value", MISSES + LONG)
def test_a_missing_or_malformed_header_is_refused_and_nothing_else_is_raised(crm: Crm, value: str | None) -> None:
    source, request = crm.source(crm.secrets[0]), crm.request(crm.secrets[0])
    for name in crm.proofs:
        rest = {key: kept for key, kept in request.headers.items() if key != name}
        with pytest.raises(VerificationError):
            source.verify(with_headers(request, rest if value is None else rest | {name: value}), now=NOW)


@every
def test_a_truncated_header_is_refused(crm: Crm) -> None:
    source, request = crm.source(crm.secrets[0]), crm.request(crm.secrets[0])
    for name in crm.proofs:
        for cut in range(1, min(len(request.headers[name]), 80)):
            given = request.headers[name][:-cut]
            if cut == 1 and request.headers[name].endswith("="):
                continue  # base64 without its padding says the same
            with pytest.raises(VerificationError):
                source.verify(with_headers(request, {**request.headers, name: given}), now=NOW)


@every
@pytest.mark.parametrize("body", [b"", b"null", b"[]]", b"1", b'"text"', b"[1]", b"[" * 100_000, b"\xff", b'{"a":NaN}'])
def test_what_is_no_event_is_a_parse_error(crm: Crm, body: bytes) -> None:
    with pytest.raises(ParseError):
        crm.source(crm.secrets[0]).parse(crm.request(crm.secrets[0], body=body))


@every
def test_no_error_shows_a_secret_or_a_contact_value(crm: Crm) -> None:
    source = crm.source(crm.secrets[0])
    request = crm.request(crm.secrets[2])
    with pytest.raises(VerificationError) as refused:
        source.verify(request, now=NOW)
    told = f"{refused.value!r} {refused.value.cause} {refused.value.hint}"
    for secret in crm.secrets:
        assert secret not in told
    assert crm.breaks[0] in crm.body
    broken = request.body.replace(*crm.breaks)
    with pytest.raises(ParseError) as malformed:
        source.parse(replace(request, body=broken))
    assert "Amara" not in f"{malformed.value!r} {malformed.value.cause} {malformed.value.hint}"
    assert "Amara" not in repr(source.parse(request))


@every
def test_a_kept_request_holds_no_credential_and_reads_the_same(crm: Crm) -> None:
    source, request = crm.source(crm.secrets[0]), crm.request(crm.secrets[0])
    kept = source.redact(request)
    shown = f"{kept.url} {dict(kept.headers)} {kept.body!r}"
    assert crm.secrets[0] not in repr(request)
    assert "authorization" not in kept.headers
    assert crm.secrets[0] not in shown
    assert source.parse(kept) == source.parse(request)


@every
def test_unauthenticated_webhooks_are_accepted_only_where_auth_is_none(crm: Crm) -> None:
    build(crm.preset, None, crm.parse).verify(crm.bare, now=NOW)
    with pytest.raises(VerificationError):
        crm.source(crm.secrets[0]).verify(crm.bare, now=NOW)


SAMPLES = [
    Sample(
        object_id="991",
        event_id="0b6d8f2e-1f5c-4d2c-9a55-0d3f6b0f8a11",
        at=NOW - timedelta(seconds=7),
        fields={
            "first_name": "Amara",
            "last_name": "Okafor",
            "email": "amara.okafor@northwind.example",
            "phone": "+1 415 555 0132",
            "title": "VP Finance",
            "Lifecycle": "Customer",
        },
        previous={"title": "Controller", "phone": None, "Lifecycle": None},
    ),
    Sample(
        object_id="per_8Hq2",
        event_id="evt-created",
        at=NOW,
        fields={"last_name": "Lindqvist", "email": None, "phone": None},
        created=True,
    ),
]


@every
@pytest.mark.parametrize("sample", SAMPLES, ids=["changed", "created"])
def test_a_sample_is_signed_and_reads_as_the_change_it_was_made_from(crm: Crm, sample: Sample) -> None:
    source = crm.source(*crm.secrets) if crm.signs_samples else build(crm.preset, None, crm.parse)
    request = source.sample(sample, url=URL, now=NOW)
    source.verify(request, now=NOW)
    changes = source.parse(request)
    assert {change.object_id for change in changes} == {sample.object_id}
    assert {change.occurred_at for change in changes} == {sample.at if crm.tells_time else None}
    created = sample.created and crm.tells_creation
    assert changes[0].action is (Action.CREATED if created else Action.UPDATED)
    assert all(change.ignored is None for change in changes)
    assert len({change.dedup_key for change in changes}) == len(changes)
    again = source.sample(sample, url=URL, now=NOW + timedelta(seconds=90))
    assert [change.dedup_key for change in source.parse(again)] == [change.dedup_key for change in changes]


@pytest.mark.parametrize("crm", [crm for crm in CRMS if not crm.signs_samples], ids=lambda crm: crm.name)
def test_a_sample_that_only_the_crm_could_sign_is_refused_and_says_so(crm: Crm) -> None:
    """Sent unsigned it would look as if the configuration were wrong."""
    with pytest.raises(NotFound, match="private key"):
        crm.source(*crm.secrets).sample(SAMPLES[0], url=URL, now=NOW)


@every
def test_a_sample_for_a_source_without_proof_is_unsigned(crm: Crm) -> None:
    request = build(crm.preset, None, crm.parse).sample(SAMPLES[0], url=URL, now=NOW)
    assert set(request.headers) <= {"content-type", "user-agent", *crm.incidental}


@every
def test_the_sender_is_told_how_much_is_safe(crm: Crm) -> None:
    reply = crm.source(crm.secrets[0]).accept(accepted=3, duplicates=1)
    assert (reply.status, reply.body) == (200, crm.accepts)


@every
@pytest.mark.parametrize("secrets", [[], [""], ["  "], ["secret-" + str(n) for n in range(9)]])
def test_no_secret_a_blank_one_or_too_many_are_refused_at_load(crm: Crm, secrets: list[str]) -> None:
    with pytest.raises(ValueError, match=r"(?i)secret|public key|at least 1|at most 8"):
        crm.source(*secrets)


@time_signed
def test_the_clock_is_the_one_passed_in(crm: Crm) -> None:
    request = crm.request(crm.secrets[0])
    later: datetime = NOW + timedelta(days=400)
    with pytest.raises(VerificationError):
        crm.source(crm.secrets[0]).verify(request, now=later)


@in_batches
def test_a_batch_past_the_limit_is_refused_whole(crm: Crm) -> None:
    """Half a batch would be acknowledged as the whole."""
    assert crm.batch is not None
    source = crm.source(crm.secrets[0])
    batch = crm.request(crm.secrets[0], body=crm.batch(crm.body, EVENTS_MAX))
    assert len(source.parse(batch)) == EVENTS_MAX
    with pytest.raises(TooLarge, match="501"):
        source.parse(crm.request(crm.secrets[0], body=crm.batch(crm.body, EVENTS_MAX + 1)))


@with_values
def test_an_event_past_the_limit_is_refused(crm: Crm) -> None:
    body = crm.body.replace(crm.mark, b"A" * EVENT_BYTES_MAX)
    with pytest.raises(TooLarge, match=str(EVENT_BYTES_MAX)):
        crm.source(crm.secrets[0]).parse(crm.request(crm.secrets[0], body=body))


@every
@pytest.mark.parametrize("status", [400, 401, 413, 500, 503])
def test_a_refusal_keeps_its_status_in_whatever_dialect_it_is_told(crm: Crm, status: int) -> None:
    reply = crm.source(crm.secrets[0]).refuse(status)
    assert reply is None or reply.status == status
