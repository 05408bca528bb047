"""What sources share: ids, JSON, headers, clocks and comparisons at their edges."""

import contextlib
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import ParseError, TooLarge, VerificationError
from service.model import Action, Change, InboundRequest, Json, to_micros
from service.sources import base
from tests.support.crm import NOW, build, post


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"{}", id="empty"),
        pytest.param(b'{"a":[1,2]}', id="flat"),
        pytest.param(b"[" * 64 + b"]" * 64, id="64 deep"),
        pytest.param(b'["' + b"[" * 200 + b'"]', id="in text"),
        pytest.param(rb'["\"[[[{{{' + b"[" * 100 + b'"]', id="after an escaped quote"),
        pytest.param(b"[{}" + b",{}" * 90 + b"]", id="wide"),
    ],
)
def test_json_at_most_64_deep_is_read_and_brackets_in_text_do_not_count(body: bytes) -> None:
    assert base.read_json(body) == orjson.loads(body)


@pytest.mark.parametrize(
    "body", [b"[" * 65 + b"]" * 65, b'{"a":' * 65 + b"1" + b"}" * 65, b'{"a":"\\\\"' + b',"b":[' * 70]
)
def test_deeper_json_is_refused_before_it_is_parsed(body: bytes) -> None:
    with pytest.raises(ParseError, match="deeper than 64"):
        base.read_json(body)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"NaN", b'"\\ud800"', b"{'a':1}", b"[" * 200 + b"]" * 136 + b'"'])
def test_what_is_not_json_is_a_parse_error(body: bytes) -> None:
    with pytest.raises(ParseError):
        base.read_json(body)


@given(body=st.binary(max_size=300) | st.text(alphabet='[]{}",:\\a1', max_size=300).map(str.encode))
def test_reading_json_raises_nothing_else(body: bytes) -> None:
    with contextlib.suppress(ParseError):
        base.read_json(body)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (-7, "-7"), (2**64 - 1, "18446744073709551615"), ("per_8Hq2", "per_8Hq2"), ("a" * 255, "a" * 255)],
)
def test_an_id_is_text(value: Json, text: str) -> None:
    assert base.identifier(value, "objectId") == text


@pytest.mark.parametrize("value", [None, "", True, 1.0, [], {}, "a" * 256, "a\nb", "a\x00"])
def test_anything_else_is_no_id_and_is_not_shown(value: Json) -> None:
    with pytest.raises(ParseError, match=r"^objectId is"):
        base.identifier(value, "objectId")


@pytest.mark.parametrize("value", [None, ""])
def test_an_optional_id_may_be_absent(value: Json) -> None:
    assert base.optional_identifier(value, "objectId") is None


@given(parts=st.lists(st.text(max_size=200), min_size=1, max_size=6))
def test_a_dedup_key_fits_its_column_and_is_the_same_each_time(parts: list[str]) -> None:
    key = base.dedup_key(*(part.encode("utf-8", "replace").decode() for part in parts))
    assert len(key) <= base.IDENTIFIER_MAX
    assert key == base.dedup_key(*(part.encode("utf-8", "replace").decode() for part in parts))


@pytest.mark.parametrize(
    ("value", "text"), [("CRM_UI", "CRM_UI"), (11250873, "11250873"), ("userId:63543153", "userId:63543153")]
)
def test_a_side_fact_is_a_short_word(value: Json, text: str) -> None:
    assert base.detail(value) == text


@pytest.mark.parametrize(
    "value", [None, "", True, 1.5, [], {}, "amara@okafor.example", "Amara Okafor", "a" * 101, "ü", "a\n"]
)
def test_a_side_fact_that_could_be_a_contact_value_is_dropped(value: Json) -> None:
    assert base.detail(value) is None


@pytest.mark.parametrize(
    ("value", "number"),
    [(0, 0), (4, 4), (-1, None), (True, None), (1.0, None), ("1", None), (None, None), (10**7, None)],
)
def test_an_attempt_is_a_small_whole_number(value: Json, number: int | None) -> None:
    assert base.attempt_number(value) == number


def test_a_time_is_utc_and_absent_is_no_fault() -> None:
    assert base.instant(1772443800000, "occurredAt") == NOW
    assert base.instant(None, "occurredAt") is None
    assert base.instant("", "occurredAt") is None
    with pytest.raises(ParseError, match=r"^occurredAt is not a time$"):
        base.instant("2026-02-30", "occurredAt")


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.5", "1e3", " 1", "1_0", "²", "\u0661", "9" * 20])
def test_a_signed_time_is_plain_digits(text: str) -> None:
    with pytest.raises(VerificationError):
        base.whole_number(text, "the time")


@given(offset_us=st.integers(-(10**15), 10**15), tolerance_s=st.integers(1, 86_400))
def test_a_signed_time_is_fresh_exactly_within_the_tolerance(offset_us: int, tolerance_s: int) -> None:
    sent = to_micros(NOW) + offset_us
    if abs(offset_us) <= tolerance_s * 1_000_000:
        base.fresh(sent, now=NOW, tolerance_s=tolerance_s)
    else:
        with pytest.raises(VerificationError, match="past" if offset_us < 0 else "future"):
            base.fresh(sent, now=NOW, tolerance_s=tolerance_s)


def test_the_default_tolerance_is_five_minutes() -> None:
    base.fresh(to_micros(NOW - timedelta(minutes=5)), now=NOW)
    with pytest.raises(VerificationError):
        base.fresh(to_micros(NOW - timedelta(minutes=5, microseconds=1)), now=NOW)


@given(given_=st.lists(st.binary(max_size=3), max_size=4), expected=st.lists(st.binary(max_size=3), max_size=4))
def test_matching_is_having_one_in_common(given_: list[bytes], expected: list[bytes]) -> None:
    assert base.matches(given_, iter(expected)) == bool(set(given_) & set(expected))


@pytest.mark.parametrize(
    ("value", "reason"), [(None, "missing"), ("", "missing"), ("a" * 8193, "longer"), ("ü", "ASCII")]
)
def test_a_header_that_proves_something_is_there_short_and_ascii(value: str | None, reason: str) -> None:
    request = InboundRequest("POST", "https://hooks.northwind.example", {} if value is None else {"x-sig": value}, b"")
    with pytest.raises(VerificationError, match=reason):
        base.header(request, "x-sig")


@given(text=st.text())
def test_any_text_has_bytes(text: str) -> None:
    assert base.raw(text).decode("utf-8", "surrogatepass") == text


def change(values: dict[str, Json]) -> Change:
    return Change(dedup_key="k", object_type="contact", object_id="1", action=Action.UPDATED, values=values)


def test_only_the_changes_of_a_large_body_are_measured_and_the_limit_is_exact() -> None:
    framing = len(orjson.dumps([{"notes": ""}, None]))
    fits = change({"notes": "n" * (base.EVENT_BYTES_MAX - framing)})
    past = change({"notes": "n" * (base.EVENT_BYTES_MAX - framing + 1)})
    assert base.within_limits([fits, fits], 2 * base.EVENT_BYTES_MAX) == (fits, fits)
    with pytest.raises(TooLarge, match="one change is larger"):
        base.within_limits([fits, past], 2 * base.EVENT_BYTES_MAX)


def test_more_changes_than_the_limit_are_refused() -> None:
    with pytest.raises(TooLarge, match="501 changes"):
        base.within_limits([change({})] * 501, 1)


def test_a_kept_request_has_no_authorization_or_cookie() -> None:
    source = build("hubspot", {"secret": "8f2c7a1d"})
    kept = source.redact(
        post(b"[]", {"authorization": "Basic eA==", "cookie": "a=b", "x-hubspot-signature-v3": "c2ln"})
    )
    assert sorted(kept.headers) == ["content-type", "x-hubspot-signature-v3"]


def test_a_secret_is_not_in_the_configuration_as_shown() -> None:
    source = build("hubspot", {"secret": ["8f2c7a1d", "3b9e6d40"]})
    assert "8f2c7a1d" not in repr(source.auth)
    assert source.auth is not None
    assert "3b9e6d40" not in str(source.auth.model_dump())


def test_an_unknown_key_is_refused_without_showing_values() -> None:
    with pytest.raises(ValueError, match="signing_key") as refused:
        build("hubspot", {"secret": "8f2c7a1d", "signing_key": "3b9e6d40"})
    assert "3b9e6d40" not in str(refused.value)


def test_the_epoch_is_utc() -> None:
    assert base.instant("1970-01-01", "at") == datetime(1970, 1, 1, tzinfo=UTC)
