"""What a stranger, a broken sender and a hurried one are told, and what the log keeps of each."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from starlette.types import Message, Scope
from structlog.testing import capture_logs

from service.errors import StoreUnavailable
from service.main import real_clock
from service.schema import deliveries, events, requests, source_marks
from service.store.refusals import KEPT_MAX, WAITING_MAX
from service.web.hooks import HEADERS_MAX, Hooks
from tests.support.crms import CRMS
from tests.support.crms.hubspot import hubspot_v3
from tests.support.log import rows
from tests.support.service import Running, Shifted, configure, running
from tests.support.wait import eventually
from tests.support.webhooks import (
    HELPDESK_SECRET,
    HUBSPOT_SECRET,
    PIPEDRIVE_PASSWORD,
    PUBLIC_URL,
    Webhook,
    helpdesk,
    helpdesk_body,
    hubspot,
    hubspot_body,
    hubspot_event,
    pipedrive,
)

pytestmark = pytest.mark.anyio

LIMIT = 8192
NOW = real_clock()


def then() -> Shifted:
    """Return a clock that starts where the requests were signed, however long the tests before took."""
    clock = Shifted()
    clock.ahead = NOW - real_clock()
    return clock


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(configure(tmp_path, BODY_MAX_BYTES=str(LIMIT)), clock=then()) as service:
        yield service


def changed(webhook: Webhook, **headers: str | None) -> Webhook:
    """Return a webhook with other headers; None takes one away."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    kept = {name: value for name, value in webhook.headers.items() if name not in names}
    return Webhook(webhook.target, kept | {name: value for name, value in names.items() if value}, webhook.body)


def aimed(webhook: Webhook, target: str) -> Webhook:
    return Webhook(target, webhook.headers, webhook.body)


def of_size(size: int) -> Webhook:
    """A signed event of the helpdesk of exactly so many bytes."""
    frame = b'{"id":"ticket-1","contact":{"id":"7","first_name":"Ana","note":"%s"}}'
    return helpdesk_body(frame % (b"n" * (size - len(frame) + 2)))


ONE = hubspot([hubspot_event(201, "firstname", "Jürgen", NOW)], NOW)
STALE = NOW - timedelta(minutes=6)
FUTURE = NOW + timedelta(minutes=6)
GRACE = pipedrive(101, "9d1c2b8f", NOW, first_name="Grace")

REFUSED: dict[str, tuple[Webhook, int, str]] = {
    "wrong password": (pipedrive(101, "9d1c2b8f", NOW, password="letmein"), 401, "not_verified"),
    "no credentials": (changed(GRACE, authorization=None), 401, "not_verified"),
    "credentials that are no base64": (changed(GRACE, authorization="Basic %%%"), 401, "not_verified"),
    "another scheme of credentials": (changed(GRACE, authorization="Bearer abc"), 401, "not_verified"),
    "wrong signature": (changed(ONE, x_hubspot_signature_v3="AAAA"), 401, "not_verified"),
    "no signature": (changed(ONE, x_hubspot_signature_v3=None), 401, "not_verified"),
    "no timestamp": (changed(ONE, x_hubspot_request_timestamp=None), 401, "not_verified"),
    "a timestamp that is no number": (changed(ONE, x_hubspot_request_timestamp="today"), 401, "not_verified"),
    "an altered body": (ONE.changed(ONE.body.replace(b"201", b"202")), 401, "not_verified"),
    "a truncated body": (ONE.changed(ONE.body[:-7]), 401, "not_verified"),
    "a stale signature": (hubspot([hubspot_event(201, "firstname", "J", NOW)], STALE), 401, "not_verified"),
    "a signature of the future": (hubspot([hubspot_event(201, "firstname", "J", NOW)], FUTURE), 401, "not_verified"),
    "another address": (
        hubspot([hubspot_event(201, "a", "b", NOW)], NOW, base="https://x.example"),
        401,
        "not_verified",
    ),
    "an endless signature": (changed(ONE, x_hubspot_signature_v3="A" * 9000), 401, "not_verified"),
    "an empty body": (helpdesk_body(b""), 400, "malformed"),
    "a body cut off and signed": (helpdesk_body(b'{"id":"1","contact":{"id":'), 400, "malformed"),
    "deep JSON": (helpdesk_body(b"[" * 4000 + b"]" * 4000), 400, "malformed"),
    "JSON that is not UTF-8": (helpdesk_body('{"id":"1","contact":{"id":"ü"}}'.encode("latin-1")), 400, "malformed"),
    "a byte order mark": (helpdesk_body(b"\xef\xbb\xbf{}"), 400, "malformed"),
    "NaN": (helpdesk_body(b'{"id":"1","contact":{"id":"7","score":NaN}}'), 400, "malformed"),
    "a lone surrogate": (helpdesk_body(b'{"id":"1","contact":{"id":"\\ud800"}}'), 400, "malformed"),
    "a number where a list belongs": (hubspot_body(b"7", NOW), 400, "malformed"),
    "no record id": (helpdesk_body(b'{"id":"1","contact":{"first_name":"Ana"}}'), 400, "malformed"),
    "a control character in an id": (helpdesk_body(b'{"id":"1","contact":{"id":"7\\u0000"}}'), 400, "malformed"),
    "a time that is none": (helpdesk_body(b'{"id":"1","at":"noon","contact":{"id":"7"}}'), 400, "malformed"),
    "the older version": (
        GRACE.changed(b'{"v":1,"meta":{"v":1,"object":"person"},"current":{}}'),
        422,
        "unsupported_version",
    ),
    "a body over the limit by one byte": (of_size(LIMIT + 1), 413, "too_large"),
    "an unknown source": (aimed(GRACE, "/webhooks/pipedrve"), 404, "unknown_source"),
    "a source in capitals": (aimed(GRACE, "/webhooks/Pipedrive"), 404, "unknown_source"),
    "a source of control characters": (aimed(GRACE, "/webhooks/a%0Ab%00"), 404, "unknown_source"),
    "an endless source": (aimed(GRACE, "/webhooks/" + "s" * 3000), 404, "unknown_source"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_bad_input_is_refused_and_leaves_only_its_refusal(service: Running, name: str) -> None:
    """Nothing unproved or unreadable may reach the log, and the operator must see why a CRM is turned away."""
    webhook, status, kind = REFUSED[name]
    answer = await service.send(webhook)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document.keys() == {"type", "title", "status"}
    assert (document["type"], document["status"]) == (f"urn:crm-to-chartmogul:{kind}", status)
    for table in (requests, events, deliveries):
        assert await rows(service.store, table) == []
    await service.store.refusals.flush()
    (refusal,) = await service.store.refusals.newest(10)
    assert refusal.reason.startswith(f"{kind}: ")
    assert refusal.size <= LIMIT
    assert len(refusal.source) <= 63
    assert refusal.source.isprintable()
    for secret in (PIPEDRIVE_PASSWORD, HUBSPOT_SECRET, HELPDESK_SECRET, "letmein", "Jürgen"):
        assert secret not in repr(refusal)
        assert secret not in answer.text


async def test_a_header_that_is_not_ascii_is_refused(service: Running) -> None:
    signature = "sha256=ü".encode("latin-1")
    answer = await service.client.post("/webhooks/helpdesk", content=b"{}", headers=[(b"x-signature", signature)])
    assert answer.status_code == 401


async def test_a_chunked_body_is_counted_rather_than_believed(service: Running) -> None:
    """Without an announced length, the limit must hold while the body arrives."""

    async def chunks(body: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(body), 1000):
            yield body[start : start + 1000]

    async def send(webhook: Webhook) -> int:
        answer = await service.client.post(webhook.target, content=chunks(webhook.body), headers=webhook.headers)
        return answer.status_code

    assert await send(of_size(LIMIT + 1)) == 413
    assert await rows(service.store, requests) == []
    assert await send(of_size(LIMIT)) == 200


@pytest.mark.parametrize("length", ["9" * 400, "-1", "many", str(LIMIT + 1)])
async def test_a_length_that_cannot_be_is_refused_unread(service: Running, length: str) -> None:
    headers = {**GRACE.headers, "content-length": length}
    assert (await service.client.post(GRACE.target, content=GRACE.body, headers=headers)).status_code == 413


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW"])
async def test_other_methods_are_told_which_one_is_meant(service: Running, method: str) -> None:
    answer = await service.client.request(method, "/webhooks/pipedrive", headers=GRACE.headers)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "path", ["/", "/webhooks", "/webhooks/", "/webhooks/pipedrive/", "/webhooks/a%2Fb", "/docs", "/openapi.json"]
)
async def test_an_address_that_is_none_is_not_found(service: Running, path: str) -> None:
    """No redirect either: senders do not follow them, and take them for success or not as they like."""
    answer = await service.client.post(path, content=GRACE.body, headers=GRACE.headers)
    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:crm-to-chartmogul:not_found"


async def test_too_many_headers_are_refused(service: Running) -> None:
    own = len((await service.send(GRACE)).request.headers)
    extra = {f"x-forwarded-{number}": "1" for number in range(HEADERS_MAX - own)}
    fits = changed(pipedrive(101, "b8f5e6a7", NOW))
    assert (await service.send(Webhook(fits.target, fits.headers | extra, fits.body))).status_code == 200
    over = fits.headers | extra | {"x-request-start": "1"}
    assert (await service.send(Webhook(fits.target, over, fits.body))).status_code == 413


async def test_repeated_headers_are_joined_as_http_says(tmp_path: Path) -> None:
    """A second signature must not hide the first, nor the other way round."""
    async with running(configure(tmp_path), clock=then()) as service:
        body = helpdesk("7", "ticket-1", NOW).body
        signature = helpdesk_body(body).headers["x-signature"].encode()
        pairs = [(b"x-signature", signature), (b"x-signature", b"sha256=" + b"0" * 64)]
        answer = await service.client.post("/webhooks/helpdesk", content=body, headers=pairs)
    assert answer.status_code == 401


async def test_a_batch_is_taken_up_to_its_limit(tmp_path: Path) -> None:
    def batch(size: int) -> Webhook:
        return hubspot([hubspot_event(201, f"p{number}", "x", NOW, number=number) for number in range(size)], NOW)

    async with running(configure(tmp_path), clock=then()) as service:
        assert (await service.send(batch(501))).status_code == 413
        assert await rows(service.store, events) == []
        assert (await service.send(batch(500))).json() == {"accepted": 500, "duplicates": 0}


async def test_a_bad_event_refuses_the_whole_batch(service: Running) -> None:
    """Half a batch would be acknowledged as a whole."""
    good = hubspot_event(201, "firstname", "Jürgen", NOW)
    assert (await service.send(hubspot([good, {**good, "objectId": None}], NOW))).status_code == 400
    assert await rows(service.store, events) == []


async def test_an_empty_batch_is_taken(service: Running) -> None:
    assert (await service.send(hubspot([], NOW))).json() == {"accepted": 0, "duplicates": 0}


async def test_a_repeated_webhook_is_answered_as_known(service: Running) -> None:
    assert (await service.send(GRACE)).json() == {"accepted": 1, "duplicates": 0}
    assert (await service.send(GRACE)).json() == {"accepted": 0, "duplicates": 1}
    assert len(await rows(service.store, events)) == 1
    assert len(await rows(service.store, requests)) == 1


async def test_hubspot_is_verified_by_public_address_and_raw_query(service: Running) -> None:
    """The signature covers what HubSpot sent, percent codes as they were; a decoded query would never match."""
    query = "?portal=24519873&next=%2Fa%20b%3Fc&caf%C3%A9=%40"
    assert (await service.send(hubspot([hubspot_event(201, "firstname", "J", NOW)], NOW, query=query))).is_success
    decoded = "/webhooks/hubspot?portal=24519873&next=/a%20b?c&caf%C3%A9=@"
    body = json.dumps([hubspot_event(201, "lastname", "B", NOW)]).encode()
    headers = hubspot_v3(HUBSPOT_SECRET, body, NOW, url=PUBLIC_URL + decoded)
    assert (await service.send(Webhook("/webhooks/hubspot" + query, headers, body))).is_success
    other = query.replace("24519873", "24519874")
    assert (await service.send(Webhook("/webhooks/hubspot" + other, headers, body))).status_code == 401


UNSIGNED_ADDRESS = """\
sources:
  helpdesk:
    preset: generic
    auth: {verify: {scheme: hmac, secret: "${HELPDESK_SECRET}", header: X-Signature, prefix: "sha256="}}
    parse: {object_id: contact.id, values: contact}
    resolve: [{email: email}]
    mapping: {title: title}
"""


async def test_without_public_address_the_requests_own_is_kept(tmp_path: Path) -> None:
    """It is what `inspect` is given later, percent codes and query as they came."""
    async with running(configure(tmp_path, UNSIGNED_ADDRESS, PUBLIC_URL=""), clock=then()) as service:
        url = "https://crm.internal.example/webhooks/helpdesk?next=%2Fa"
        webhook = helpdesk("7", "ticket-1", NOW)
        answer = await service.client.post(url, content=webhook.body, headers=webhook.headers)
        assert answer.status_code == 200
        assert (await service.store.ledger.request_of(1)).url == url


async def test_a_percent_encoded_source_name_is_the_same_source(service: Running) -> None:
    assert (await service.send(aimed(GRACE, "/webhooks/pip%65drive"))).status_code == 200


async def test_credentials_are_not_kept_with_the_request(service: Running) -> None:
    await service.accepted(GRACE)
    kept = await service.store.ledger.request_of(1)
    assert "authorization" not in kept.headers
    assert kept.body == GRACE.body


async def test_a_lost_store_is_answered_with_when_to_try_again(tmp_path: Path) -> None:
    """The sender keeps the change only if it is told that it was not stored."""
    async with running(configure(tmp_path), clock=then()) as service:
        await service.store.close()
        answer = await service.send(GRACE)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json()["title"] == "Not stored; send it again"


async def test_whoever_speaks_a_dialect_is_refused_in_it_whatever_the_reason(tmp_path: Path) -> None:
    """Salesforce takes nothing else for a refusal, and sends again only what was refused."""
    crm = next(crm for crm in CRMS if crm.preset == "salesforce")
    source = {"preset": crm.preset, "auth": crm.auth([crm.secrets[0]]), "resolve": ["link"], "mapping": {"title": "Id"}}
    configuration = json.dumps({"sources": {"crm": source}})
    async with running(configure(tmp_path, configuration), clock=then()) as service:
        await service.store.close()
        for status, secret in ((401, "another"), (503, crm.secrets[0])):
            request = crm.request(secret, at=NOW)
            target = request.url.removeprefix(PUBLIC_URL)
            answer = await service.send(Webhook(target, dict(request.headers), request.body))
            assert (answer.status_code, answer.headers["content-type"]) == (status, "text/xml; charset=utf-8")
            assert "<Ack>false</Ack>" in answer.text


async def test_more_than_may_wait_is_turned_away_and_nothing_acknowledged_is_missing(tmp_path: Path) -> None:
    async with running(configure(tmp_path, INTAKE_WAITING_MAX="3"), clock=then()) as service:
        sent = [pipedrive(number, f"evt-{number}", NOW) for number in range(40)]
        answers = await asyncio.gather(*[service.send(webhook) for webhook in sent])
        statuses = [answer.status_code for answer in answers]
        assert set(statuses) == {200, 503}
        assert all(answer.headers["retry-after"] for answer in answers if answer.status_code == 503)
        logged = {line["dedup_key"] for line in await service.events()}
        assert logged == {f"evt-{number}" for number, status in enumerate(statuses) if status == 200}
        await service.store.refusals.flush()
        assert await service.store.refusals.newest(10) == [], "the sender did nothing wrong"


async def test_a_flood_of_refusals_stays_bounded(service: Running) -> None:
    """Strangers must not fill the disk or the memory, whatever names they think of."""
    for start in range(0, KEPT_MAX + 100, 100):
        await asyncio.gather(
            *[service.send(aimed(GRACE, f"/webhooks/guess-{number}")) for number in range(start, start + 100)]
        )
        await service.store.refusals.flush()
    assert len(await service.store.refusals.newest(5000)) == KEPT_MAX
    marks = {line["source"]: line["refused"] for line in await rows(service.store, source_marks)}
    assert 0 < len(marks) <= KEPT_MAX


async def test_refusals_that_arrive_while_others_are_written_are_written_too(service: Running) -> None:
    """More than wait at most may come during one write; the next write must cope with what is left."""
    wrong = changed(GRACE, authorization=None)

    async def flood(count: int) -> None:
        await asyncio.gather(*[service.send(wrong) for _ in range(count)])

    await flood(WAITING_MAX)
    await asyncio.gather(service.store.refusals.flush(), flood(WAITING_MAX + 50))
    await service.store.refusals.flush()

    async def all_counted() -> bool:  # the service writes them down by itself too
        marks = {line["source"]: line["refused"] for line in await rows(service.store, source_marks)}
        return marks == {"pipedrive": 2 * WAITING_MAX + 50}

    await eventually(all_counted)


async def test_refusals_outlive_a_store_that_does_not_take_them(service: Running) -> None:
    await service.send(changed(GRACE, authorization=None))
    refusals = service.store.refusals
    await service.store.close()
    with pytest.raises(StoreUnavailable):
        await refusals.flush()
    assert [refusal.source for refusal in refusals._waiting] == ["pipedrive"]


def lone_hooks(service: Running, **other: float) -> Hooks:
    return Hooks(
        pipeline=service.service.pipeline,
        refusals=service.store.refusals,
        public_url=PUBLIC_URL,
        body_max_bytes=LIMIT,
        wake=service.service.worker.wake,
        clock=real_clock,
        **other,
    )


async def call(hooks: Hooks, *messages: Message) -> list[Message]:
    """Let a sender say these things and then nothing more; return what it would be answered."""
    sent: list[Message] = []
    waiting = list(messages)
    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": "/webhooks/pipedrive",
        "headers": [(name.encode(), value.encode()) for name, value in GRACE.headers.items()],
        "query_string": b"",
        "scheme": "https",
        "http_version": "1.1",
    }

    async def receive() -> Message:
        if waiting:
            return waiting.pop(0)
        await asyncio.Event().wait()
        raise AssertionError("never reached")

    async def send(message: Message) -> None:
        sent.append(message)

    await hooks(scope, receive, send)
    return sent


async def test_a_sender_that_drips_is_not_waited_for(service: Running) -> None:
    begun = {"type": "http.request", "body": GRACE.body[:10], "more_body": True}
    sent = await call(lone_hooks(service, read_timeout_s=0.05), begun)
    assert sent[0]["status"] == 400
    assert await rows(service.store, requests) == []


async def test_a_sender_that_hangs_up_leaves_only_a_refusal(service: Running) -> None:
    begun = {"type": "http.request", "body": GRACE.body[:10], "more_body": True}
    sent = await call(lone_hooks(service), begun, {"type": "http.disconnect"})
    assert sent[0]["status"] == 400
    assert await rows(service.store, requests) == []
    await service.store.refusals.flush()
    assert [line.reason for line in await service.store.refusals.newest(10)] == [
        "malformed: the body did not arrive whole"
    ]


async def test_a_fault_of_ours_says_nothing(tmp_path: Path) -> None:
    """Whatever goes wrong inside, a stranger learns no more than that."""
    broken = False

    def clock() -> datetime:
        if broken:
            raise ZeroDivisionError("Amara Okafor, amara@northwind.example")
        return real_clock()

    async with running(configure(tmp_path), clock=clock) as service:
        with capture_logs() as lines:
            broken = True
            answer = await service.send(GRACE)
            broken = False
    assert answer.status_code == 500
    assert answer.json() == {"type": "urn:crm-to-chartmogul:fault", "title": "Internal Server Error", "status": 500}
    (line,) = [line for line in lines if line["event"] == "fault" and "path" in line]
    assert line == {"event": "fault", "log_level": "error", "path": "/webhooks/pipedrive", "cause": "ZeroDivisionError"}
