"""Instants: every notation of the CRMs is read, nothing else is, and no error shows a value."""

import math
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.model import Json, to_micros
from service.times import EPOCH_MAX, isoformat_z, parse_instant

MORNING = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
SECONDS = 1_772_357_400


@pytest.mark.parametrize(
    "value",
    [
        "2026-03-01T09:30:00Z",
        "2026-03-01T09:30:00z",
        " 2026-03-01T09:30:00Z ",
        "2026-03-01 09:30:00Z",
        "2026-03-01T09:30Z",
        "2026-03-01T09:30:00",
        "2026-03-01T09:30:00.0000000Z",
        "2026-03-01T09:30:00+00:00",
        "2026-03-01T15:00:00+05:30",
        "2026-03-01T01:30:00-0800",
        "20260301T093000Z",
        SECONDS,
        float(SECONDS),
        SECONDS * 1_000,
        SECONDS * 1_000_000,
        str(SECONDS),
        str(SECONDS * 1_000),
        str(SECONDS * 1_000_000),
        f"{SECONDS}.000",
        f"/Date({SECONDS * 1000})/",
        f"/Date({SECONDS * 1000}+0200)/",
        f"/Date({SECONDS * 1000}-0800)/",
    ],
)
def test_one_instant_in_every_notation(value: Json) -> None:
    assert parse_instant(value) == MORNING
    assert parse_instant(value).tzinfo is UTC


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("20260301", datetime(2026, 3, 1, tzinfo=UTC)),
        ("20260301093000", datetime(2026, 3, 1, 9, 30, tzinfo=UTC)),
        ("1875-06-01", datetime(1875, 6, 1, tzinfo=UTC)),
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        ("86400", datetime(1970, 1, 2, tzinfo=UTC)),
        ("99999999", datetime(1973, 3, 3, 9, 46, 39, tzinfo=UTC)),
        (SECONDS + 0.25, MORNING + timedelta(milliseconds=250)),
        (f"{SECONDS}.123456789", MORNING + timedelta(microseconds=123_456)),
        (f"{SECONDS * 1000}.5", MORNING + timedelta(microseconds=500)),
        (SECONDS * 1_000_000 + 7, MORNING + timedelta(microseconds=7)),
        ("2026-03-01T09:30:00.123456Z", MORNING + timedelta(microseconds=123_456)),
    ],
)
def test_reads_the_instant_exactly(value: Json, expected: datetime) -> None:
    assert parse_instant(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-03-01T10:30:00", MORNING),
        ("2026-07-01T10:30:00", datetime(2026, 7, 1, 8, 30, tzinfo=UTC)),
        ("2026-03-01", datetime(2026, 2, 28, 23, tzinfo=UTC)),
        ("2026-03-01T09:30:00Z", MORNING),
        (SECONDS, MORNING),
    ],
)
def test_the_zone_speaks_only_for_local_times(value: Json, expected: datetime) -> None:
    assert parse_instant(value, zone=ZoneInfo("Europe/Berlin")) == expected


@pytest.mark.parametrize(
    "value",
    [
        None, True, [], {}, [SECONDS], "", " ", "soon", "2026-13-01", "2026-02-30", "09:30", "2026-03-01T25:00",
        "Infinity", "nan", math.nan, math.inf, -math.inf, -1, -0.5,
        10**17, 10**400, 1e300, "1" * 18, "1." + "0" * 63, "-5", "1e9",
        "/Date(-1)/", "/Date(99999999999999999)/", "/Date()/", "Date(1)", "\u0661\u0662", "2026-03-01" + " " * 80 + "x",
        "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "\ud800", "2026-03-01T09:30:00 UTC",
    ],
)  # fmt: skip
def test_what_is_no_instant_is_refused_without_showing_it(value: Json) -> None:
    with pytest.raises(ValueError, match="not an instant") as caught:
        parse_instant(value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    if isinstance(value, str) and len(value.strip()) > 2:
        assert value.strip() not in str(caught.value)


def test_epoch_numbers_end_with_the_year_2200() -> None:
    end = to_micros(EPOCH_MAX)
    assert parse_instant(end // 1_000_000) == EPOCH_MAX
    assert parse_instant(end) == EPOCH_MAX
    with pytest.raises(ValueError, match="1970 to 2200"):
        parse_instant(end + 1)


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (MORNING, "2026-03-01T09:30:00.000Z"),
        (MORNING + timedelta(microseconds=123_999), "2026-03-01T09:30:00.123Z"),
        (MORNING.astimezone(timezone(timedelta(hours=5, minutes=30))), "2026-03-01T09:30:00.000Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000Z"),
    ],
)
def test_writes_utc_with_milliseconds(instant: datetime, text: str) -> None:
    assert isoformat_z(instant) == text


def test_a_naive_datetime_is_not_written() -> None:
    """Python would take it for the machine's local time, silently."""
    with pytest.raises(ValueError, match="naive"):
        isoformat_z(datetime(2026, 3, 1))  # noqa: DTZ001 - the naive one is the point


INSTANTS = st.datetimes(
    min_value=datetime(1970, 4, 1),  # noqa: DTZ001 - hypothesis takes naive bounds
    max_value=datetime(2199, 12, 31),  # noqa: DTZ001 - as above
    timezones=st.sampled_from([UTC, ZoneInfo("Asia/Kolkata"), ZoneInfo("America/St_Johns")]),
)


@given(INSTANTS)
def test_reads_back_what_it_writes(instant: datetime) -> None:
    millis = to_micros(instant) // 1000
    whole = parse_instant(isoformat_z(instant))
    assert to_micros(whole) // 1000 == millis
    assert parse_instant(millis) == parse_instant(str(millis)) == parse_instant(f"/Date({millis})/") == whole
    assert to_micros(parse_instant(instant.isoformat())) == to_micros(instant)  # == is False in a fold


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40) | st.lists(st.integers()))
def test_any_value_gives_an_aware_instant_or_a_value_error(value: Json) -> None:
    try:
        fine = parse_instant(value).tzinfo is UTC
    except ValueError as error:
        fine = str(error).startswith("not an instant")
    assert fine
