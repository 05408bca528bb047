"""The nouns keep contact values to themselves, and instants exact."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from service.model import (
    MISSING,
    Action,
    Change,
    Confirmed,
    InboundRequest,
    Step,
    Trace,
    from_micros,
    to_micros,
)

CANARY = "amara.okafor@northwind.example"


def test_no_noun_shows_a_contact_value() -> None:
    request = InboundRequest("POST", f"https://a.example/?q={CANARY}", {"authorization": CANARY}, CANARY.encode())
    change = Change("k", "person", "1", Action.UPDATED, values={"email": CANARY}, previous={"email": CANARY})
    step = Step("lower", CANARY)
    trace = Trace("email", "emails[0]", CANARY, (step,), "set", CANARY)
    shown = f"{request!r} {change!r} {Confirmed(CANARY)!r} {MISSING!r} {step!r} {trace!r}"
    assert CANARY not in shown
    assert "authorization" in repr(request)
    assert "emails[0] | lower" in repr(trace)


@given(st.datetimes(timezones=st.just(UTC)) | st.datetimes(timezones=st.just(timezone(timedelta(hours=9)))))
def test_an_instant_comes_back_to_the_microsecond(instant: datetime) -> None:
    assert from_micros(to_micros(instant)) == instant
