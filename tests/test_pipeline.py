"""What the journeys decide by themselves; the whole of them is in ``flow``."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from service.coalesce import plan
from service.conclusion import Policy, Tried, conclude
from service.main import real_clock
from service.model import (
    Conclusion,
    Disposition,
    Doubt,
    Event,
    EventState,
    Json,
    Known,
    Link,
    Mapped,
    Next,
    Outcome,
    OutcomeKind,
    Verdict,
)
from service.schema import accounts
from service.translate import READ, Settled
from tests.support.log import by_hand
from tests.support.merging import AT, carried, confirmed, one
from tests.support.sandbox import contact_uuid
from tests.support.service import configure, replica, running
from tests.support.webhooks import pipedrive

pytestmark = pytest.mark.anyio


async def test_a_try_whose_lease_was_lost_leaves_no_trace_and_is_not_told_as_done(tmp_path: Path) -> None:
    """Whoever has the lease now tells what comes of it."""
    async with running(configure(tmp_path)) as service, replica(service) as other:
        await service.service.worker.stop()
        now = real_clock()
        await service.accepted(pipedrive(101, "pd-1", now, job_title="CFO", email=None))
        until = now + timedelta(seconds=60)
        (lost,) = await service.store.deliveries.claim(
            account="default", owner="first", now=real_clock(), lease_until=until, limit=1
        )
        await service.store.deliveries.reclaim(now=until)
        assert await other.pipeline.deliver(lost, lease_until=until) is None
        assert await service.store.ledger.counts() == {"pending": 1}


async def test_a_paused_account_that_is_slowed_too_is_not_probed_before_its_time(tmp_path: Path) -> None:
    """A probe is a call like any other, and keeps to what ChartMogul asked for."""
    async with running(configure(tmp_path)) as service, replica(service) as other:
        await service.service.worker.stop()
        now = real_clock()
        held = {"slowed_until": now + timedelta(minutes=5), "paused_at": now, "paused_reason": "account refused (401)"}
        await by_hand(service.store, update(accounts).values(held))
        assert await other.pipeline.probe("default") is False
        (state,) = await service.store.accounts.paused()
        assert state.paused_reason == "account refused (401)"


LATE = timedelta(seconds=30)
NOW = AT + timedelta(seconds=5)
UNTIL = AT + timedelta(seconds=20)
POLICY = Policy(retry_for=timedelta(hours=1), late=LATE, clear_with=None)
OLDER = Doubt(UNTIL, {"title": carried("CFO", 40)})
KNOWN = Known({"title": confirmed("COO", 41)}, (OLDER,))
LINK = Link(contact_uuid(1), "email in email")
DONE, DEAD, SKIP, RETRY = (
    Verdict(what, what.value, due_at=NOW) for what in (Next.DONE, Next.DEAD, Next.SKIP, Next.RETRY)
)


def ended(
    outcome: Outcome,
    verdict: Verdict,
    *mapped: tuple[Event, Mapped],
    known: Known = KNOWN,
    others: tuple[Disposition, ...] = (),
    planned_at: datetime | None = AT,
) -> Conclusion:
    """Conclude a try that planned these events' values at a time, or that did not come so far."""
    tried = Tried(in_doubt=bool(known.doubts))
    if planned_at is not None:
        planned = plan(mapped, known, now=planned_at)
        tried = replace(tried, uuid=LINK.contact_uuid, link=LINK, known=known, planned=planned, planned_at=planned_at)
    return conclude(
        outcome,
        verdict,
        Settled(mapped, others),
        tried,
        started_at=AT,
        now=NOW,
        version="9f2c1ab04d7e",
        policy=POLICY,
    )


def of(kind: OutcomeKind, **answer: Json) -> Outcome:
    return Outcome(kind, answer=answer or None)


def test_a_patch_without_an_answer_is_doubted_from_its_end_on() -> None:
    lost = ended(of(OutcomeKind.UNKNOWN), RETRY, one(42, {"phone": "+49"}))
    assert lost.doubts == (OLDER, Doubt(NOW + LATE, {"phone": carried("+49", 42)}))
    assert (lost.doubts_seen, lost.uncertain, lost.confirmed) == ((OLDER,), ("phone",), {})
    assert lost.again_at is None, "its next try looks at them anyway"


@pytest.mark.parametrize("kind", [OutcomeKind.SERVER_ERROR, OutcomeKind.OVERLOADED])
def test_a_patch_that_was_answered_cannot_land_any_more_but_may_have_been_applied(kind: OutcomeKind) -> None:
    failed = ended(of(kind), RETRY, one(42, {"phone": "+49"}))
    assert (failed.doubts, failed.uncertain) == ((OLDER,), ("phone",))


@pytest.mark.parametrize("kind", [OutcomeKind.UNREACHABLE, OutcomeKind.RATE_LIMITED, OutcomeKind.REJECTED])
def test_a_patch_that_was_not_taken_leaves_no_doubt(kind: OutcomeKind) -> None:
    failed = ended(of(kind), RETRY, one(42, {"phone": "+49"}))
    assert (failed.doubts, failed.uncertain) == ((OLDER,), ())


def test_a_doubt_that_goes_on_says_when_to_look_again_and_keeps_its_field_unsure() -> None:
    done = ended(of(OutcomeKind.APPLIED, title="CEO", phone="+49"), DONE, one(42, {"title": "CEO", "phone": "+49"}))
    assert (done.doubts, done.again_at) == ((OLDER,), UNTIL)
    assert {name: field.certain for name, field in done.confirmed.items()} == {"title": False, "phone": True}


def test_a_doubt_whose_time_came_after_the_plan_was_made_goes_on() -> None:
    """It may have landed between the plan and the PATCH."""
    done = ended(of(OutcomeKind.APPLIED), DONE, one(42, {"phone": "+49"}), planned_at=UNTIL - timedelta(microseconds=1))
    assert (done.doubts, done.again_at) == ((OLDER,), UNTIL)


def test_a_doubt_that_was_met_is_over() -> None:
    done = ended(of(OutcomeKind.APPLIED, title="COO"), DONE, planned_at=UNTIL)
    assert (done.doubts, done.again_at) == ((), None)
    assert done.confirmed["title"].certain
    assert done.attempt.fields == ("title",)


@pytest.mark.parametrize("verdict", [DEAD, SKIP])
def test_events_that_end_without_their_values_leave_the_contact_to_be_looked_at(verdict: Verdict) -> None:
    refused = ended(of(OutcomeKind.REJECTED), verdict, one(42, {"phone": "+49"}))
    assert (refused.doubts, refused.again_at) == ((OLDER,), UNTIL)
    harmless = ended(of(OutcomeKind.REJECTED), verdict, one(42, {"phone": "+49"}), known=Known(KNOWN.fields))
    assert harmless.again_at is None


@pytest.mark.parametrize("verdict", [DEAD, SKIP])
def test_events_whose_contact_was_not_found_leave_a_doubt_about_its_link_to_be_looked_at(verdict: Verdict) -> None:
    nobody = ended(of(OutcomeKind.CONTACT_UNKNOWN), verdict, one(42, {"phone": "+49"}), planned_at=None)
    assert nobody.again_at == NOW
    calm = ended(of(OutcomeKind.CONTACT_UNKNOWN), verdict, one(42, {"phone": "+49"}), known=Known(), planned_at=None)
    assert calm.again_at is None


def test_a_value_that_is_refused_when_it_is_sent_again_is_not_sent_for_ever() -> None:
    refused = ended(of(OutcomeKind.REJECTED), DEAD, planned_at=UNTIL)
    assert (refused.attempt.fields, refused.again_at) == (("title",), None)


def test_an_ignored_attribute_is_never_taken_for_there() -> None:
    done = ended(of(OutcomeKind.APPLIED, uuid="con_1"), DONE, one(42, {"custom.Plan": "Team"}), known=Known())
    assert done.ignored_attributes == ("Plan",)
    field = done.confirmed["custom.Plan"]
    assert (field.value, field.order, field.certain) == ("Team", (42, 42), False)


@pytest.mark.parametrize(
    "custom", [{"Plan": "Team", "Tier": None}, [{"key": k, "value": "x"} for k in ("Plan", "Tier")]]
)
def test_the_attributes_of_a_contact_that_came_back_are_named(custom: Json) -> None:
    done = ended(of(OutcomeKind.APPLIED, title="CEO", custom=custom), DONE, one(42, {"title": "CEO"}), known=Known())
    assert done.seen_attributes == ("Plan", "Tier")
    assert ended(of(OutcomeKind.REJECTED, custom=custom), DEAD, planned_at=UNTIL).seen_attributes == ()


def test_what_has_nothing_to_send_waits_with_the_others_for_it_may_name_the_person() -> None:
    """HubSpot tells the email apart; ended alone, a retry or a replay of the others could find nobody."""
    others = (
        Disposition(43, EventState.IGNORED, "no mapped field in it"),
        Disposition(44, EventState.DEAD, "cannot be mapped: phone"),
    )
    waiting = one(42, {"title": "CEO"})
    again = ended(of(OutcomeKind.UNREACHABLE), RETRY, waiting, others=others, known=Known(), planned_at=None)
    assert again.dispositions == others[1:]
    dead = ended(of(OutcomeKind.CONTACT_UNKNOWN), DEAD, waiting, others=others, known=Known(), planned_at=None)
    assert {(end.event_id, end.state) for end in dead.dispositions} == {(n, EventState.DEAD) for n in (42, 43, 44)}
    assert others[1] in dead.dispositions, "with a reason of its own"
    done = ended(of(OutcomeKind.APPLIED), DONE, waiting, others=others)
    assert done.dispositions[:2] == others


@pytest.mark.parametrize(("verdict", "state"), [(DEAD, EventState.DEAD), (SKIP, EventState.IGNORED)])
def test_what_another_event_was_to_carry_ends_as_that_one_does(verdict: Verdict, state: EventState) -> None:
    """A record that was read back stands for all its events; replayed alone, the newest need not be read back again."""
    others = (
        Disposition(41, EventState.MERGED, READ, 42),
        Disposition(43, EventState.IGNORED, "filtered out by `when`"),
        Disposition(44, EventState.DEAD, "cannot be mapped: phone"),
    )
    refused = ended(of(OutcomeKind.REJECTED), verdict, one(42, {"title": "CEO"}), others=others)
    assert refused.dispositions == (
        Disposition(41, state, verdict.reason),
        *others[1:],
        Disposition(42, state, verdict.reason),
    )
