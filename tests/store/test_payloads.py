"""What is kept of a change and of a request comes back as it was."""

import base64
import itertools
from dataclasses import replace
from datetime import UTC

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.model import Action, Change, Delivery, InboundRequest, Json
from service.store import Store
from service.store.payloads import as_capture, pack_request, unpack_request
from tests.support.clock import Clock
from tests.support.log import ACCOUNT, SOURCE, arrival

SERIAL = itertools.count()
"""Examples share a log: each change gets a key and a contact of its own."""

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
ID = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40)
MAYBE = st.none() | ID
LEAF = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
JSON: st.SearchStrategy[Json] = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=12
)
RECORD = st.dictionaries(TEXT, JSON, max_size=6) | st.just({"notes": "Grüße aus Köln " * 400})
CHANGES = st.builds(
    Change,
    dedup_key=st.just(""),
    object_type=ID,
    object_id=st.just(""),
    action=st.sampled_from(Action),
    crm_event_id=MAYBE,
    occurred_at=st.none() | st.datetimes(timezones=st.just(UTC)),
    changed_fields=st.none() | st.lists(TEXT, max_size=4).map(tuple),
    values=RECORD,
    previous=st.none() | RECORD,
    merged_from=st.lists(ID, max_size=3).map(tuple),
    merged_into=MAYBE,
    origin=MAYBE,
    actor=MAYBE,
    tenant=MAYBE,
    attempt=st.none() | st.integers(0, 1_000_000),
    thin=st.booleans(),
)


@pytest.mark.anyio
@given(changes=st.lists(CHANGES, min_size=1, max_size=4))
@settings(
    max_examples=40,
    deadline=None,  # a commit takes what the disk takes
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # every example brings its own keys
)
async def test_a_change_comes_back_from_the_log_as_it_went_in(
    store: Store, clock: Clock, changes: list[Change]
) -> None:
    own = [replace(change, dedup_key=f"d1f0-{(number := next(SERIAL))}", object_id=str(number)) for change in changes]
    await store.intake.append(arrival(*own, at=clock()))
    for change in own:
        delivery = Delivery(0, ACCOUNT, SOURCE, change.object_id, 0, None, relinked=False, fence=0)
        owed = await store.deliveries.pending(delivery)
        (event,) = owed.events
        assert event.change == change
        assert event.received_at == clock()
        assert (owed.link, owed.in_doubt) == (None, False)


@given(
    method=st.sampled_from(["POST", "GET"]),
    url=TEXT,
    headers=st.dictionaries(ID, st.text(st.characters(max_codepoint=255), max_size=80), max_size=6),
    body=st.binary(max_size=2000) | st.binary(max_size=40).map(lambda part: part * 100),
)
def test_a_request_comes_back_as_it_was(method: str, url: str, headers: dict[str, str], body: bytes) -> None:
    request = InboundRequest(method, url, headers, body)
    assert unpack_request(pack_request(request)) == request


def test_a_large_request_is_kept_compressed() -> None:
    body = b'{"email": "ada@northwind.example"}' * 1000
    request = InboundRequest("POST", "https://hooks.northwind.example/webhooks/attio", {}, body)
    assert len(pack_request(request)) < len(body) / 10


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b'{"name": "Zo\xc3\xab"}', {"body": '{"name": "Zo\u00eb"}'}),
        (b"\xff\xfe\x00", {"body_base64": base64.b64encode(b"\xff\xfe\x00").decode()}),
        (b"", {"body": ""}),
    ],
)
def test_a_kept_request_is_shown_as_inspect_reads_it(body: bytes, shown: dict[str, str]) -> None:
    request = InboundRequest("POST", "https://hooks.northwind.example/webhooks/attio", {"a": "1"}, body)
    assert as_capture(request) == {"method": "POST", "url": request.url, "headers": {"a": "1"}, **shown}
