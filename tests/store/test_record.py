"""Conclusions: all that one try leaves is written together, by the one who still holds the lease."""

import pytest

from service.model import Confirmed, Delivery, Disposition, EventState, Link, Next, OutcomeKind, Verdict
from service.schema import accounts, attempts, contacts, deliveries, events, ignored_attributes, links
from service.store import Store
from tests.support.clock import Clock
from tests.support.log import (
    ACCOUNT,
    ADA,
    PERSON,
    SOURCE,
    bury,
    change,
    claim,
    claim_one,
    conclusion,
    ends,
    finish,
    hold,
    pending_ids,
    receive,
    rows,
)

pytestmark = pytest.mark.anyio

UNREACHABLE = OutcomeKind.UNREACHABLE


async def everything(store: Store) -> list[object]:
    tables = (attempts, contacts, deliveries, events, links, accounts, ignored_attributes)
    return [await rows(store, table) for table in tables]


async def claimed(store: Store, clock: Clock, *keys: str) -> Delivery:
    await receive(store, clock, *(change(key) for key in keys or ("d1f0-1",)))
    return await claim_one(store, clock)


def again(clock: Clock, **other: object) -> Verdict:
    return Verdict(Next.RETRY, "unreachable: ConnectError", due_at=clock.after(8), **other)  # type: ignore[arg-type]  # any of a verdict's fields


async def test_a_try_that_ended_well_closes_the_delivery_and_its_events(store: Store, clock: Clock) -> None:
    delivery = await claimed(store, clock, "d1f0-1", "d1f0-2")
    first, second = await pending_ids(store, delivery)
    clock.advance(0.5)
    dispositions = [
        Disposition(first, EventState.MERGED, "sent with a newer change", by_event_id=second),
        Disposition(second, EventState.DELIVERED),
    ]
    done = conclusion(clock, dispositions, fields=("title", "custom.Lifecycle"), config_version="9f2c1ab04d7e")
    assert await store.deliveries.record(delivery, done, now=clock.advance(0.1))
    (attempt,) = await rows(store, attempts)
    assert (attempt["outcome"], attempt["status"], attempt["duration_ms"]) == ("applied", 200, 84)
    assert (attempt["contact_uuid"], attempt["detail"]) == (ADA, None)
    assert attempt["fields"] == '["title","custom.Lifecycle"]'
    merged, delivered = await rows(store, events)
    assert (merged["state"], merged["by_event_id"], merged["reason"]) == ("merged", second, "sent with a newer change")
    assert (delivered["state"], delivered["by_event_id"], delivered["decided_at"]) == ("delivered", None, clock())
    for event in (merged, delivered):
        assert (event["delivery_id"], event["attempt_id"]) == (delivery.id, attempt["id"])
        assert event["config_version"] == "9f2c1ab04d7e"
    (row,) = await rows(store, deliveries)
    assert (row["state"], row["outcome"], row["reason"]) == ("delivered", "applied", "applied")
    assert row["closed_at"] == clock()
    assert (row["lease_owner"], row["lease_until"], row["contact_uuid"]) == (None, None, ADA)


async def test_a_lost_lease_writes_nothing(store: Store, clock: Clock) -> None:
    """Who was presumed dead must not overwrite what came of the repetition."""
    stale = await claimed(store, clock)
    clock.advance(60)
    await store.deliveries.reclaim(now=clock())
    reclaimed = await everything(store)
    late = conclusion(
        clock,
        ends(*await pending_ids(store, stale)),
        link=Link(ADA, "email in email"),
        ignored_attributes=("Lifecycle",),
        verdict=Verdict(Next.DEAD, "rejected", slow_until=clock.after(60), pause=True),
    )
    assert not await store.deliveries.record(stale, late, now=clock())
    assert await everything(store) == reclaimed
    current = await claim_one(store, clock)
    leased = await everything(store)
    assert not await store.deliveries.record(stale, late, now=clock())
    assert await everything(store) == leased
    assert await finish(store, clock, current)
    assert not await store.deliveries.record(current, late, now=clock())


async def test_a_conclusion_whose_contact_went_to_another_writes_nothing(store: Store, clock: Clock) -> None:
    """Another PATCH went over it: its values are not known to stand, so its events are not delivered."""
    late = await claimed(store, clock)
    await hold(store, clock, late, "title")
    clock.advance(60)
    await receive(store, clock, change("d1f0-9", "982"))
    other = await claim_one(store, clock)
    assert await hold(store, clock, other, "title") is not None
    before = await everything(store)
    done = conclusion(clock, ends(*await pending_ids(store, late)), confirmed={"title": Confirmed("CTO")})
    assert not await store.deliveries.record(late, done, now=clock())
    assert await everything(store) == before
    assert await finish(store, clock, other)
    assert not await store.deliveries.record(late, done, now=clock())
    assert (await store.ledger.counts())["pending"] == 1


async def test_a_change_that_arrives_while_leased_keeps_the_delivery_open_and_begins_it_afresh(
    store: Store, clock: Clock
) -> None:
    delivery = await claimed(store, clock)
    await store.deliveries.record(delivery, conclusion(clock, kind=UNREACHABLE, verdict=again(clock)), now=clock())
    clock.advance(8)
    delivery = await claim_one(store, clock)
    first = await pending_ids(store, delivery)
    arrived = clock.advance(1)
    await receive(store, clock, change("d1f0-2"))
    assert await claim(store, clock) == []
    clock.advance(1)
    assert await store.deliveries.record(delivery, conclusion(clock, ends(*first)), now=clock())
    (row,) = await rows(store, deliveries)
    assert (row["state"], row["attempts"], row["failing_since"], row["closed_at"]) == ("pending", 0, None, None)
    assert (row["due_at"], row["opened_at"]) == (clock(), arrived)
    assert (await claim_one(store, clock)).id == delivery.id
    assert [event["state"] for event in await rows(store, events)] == ["delivered", "pending"]


async def test_a_retry_is_pending_with_its_time_and_history(store: Store, clock: Clock) -> None:
    delivery = await claimed(store, clock)
    failed_at = clock.advance(1)
    tried = conclusion(clock, kind=UNREACHABLE, verdict=again(clock), uuid=None)
    assert await store.deliveries.record(delivery, tried, now=clock())
    (row,) = await rows(store, deliveries)
    assert (row["state"], row["due_at"]) == ("pending", clock.after(8))
    assert (row["attempts"], row["failing_since"]) == (1, failed_at)
    assert (row["outcome"], row["reason"], row["closed_at"]) == ("unreachable", "unreachable: ConnectError", None)
    clock.advance(8)
    delivery = await claim_one(store, clock)
    await store.deliveries.record(delivery, conclusion(clock, kind=UNREACHABLE, verdict=again(clock)), now=clock())
    (row,) = await rows(store, deliveries)
    assert (row["attempts"], row["failing_since"]) == (2, failed_at)
    assert [event["state"] for event in await rows(store, events)] == ["pending"]
    assert len(await rows(store, attempts)) == 2


async def test_a_retry_without_a_time_is_due_now(store: Store, clock: Clock) -> None:
    delivery = await claimed(store, clock)
    now = Verdict(Next.RETRY, "unknown")
    await store.deliveries.record(delivery, conclusion(clock, kind=OutcomeKind.UNKNOWN, verdict=now), now=clock())
    assert (await claim_one(store, clock)).attempts == 1


async def test_a_refused_key_pauses_the_account_and_burns_no_attempt(store: Store, clock: Clock) -> None:
    delivery = await claimed(store, clock)
    refused = again(clock, pause=True)
    kind = OutcomeKind.ACCOUNT_REFUSED
    assert await store.deliveries.record(delivery, conclusion(clock, kind=kind, verdict=refused), now=clock())
    (row,) = await rows(store, deliveries)
    assert (row["state"], row["attempts"], row["failing_since"]) == ("pending", 0, None)
    (state,) = await store.accounts.paused()
    assert (state.name, state.paused_at, state.paused_reason) == (ACCOUNT, clock(), "unreachable: ConnectError")


async def test_an_account_is_paused_since_the_first_refusal(store: Store, clock: Clock) -> None:
    await receive(store, clock, change("1", "1"), change("2", "2"))
    first, second = await claim(store, clock)
    paused_at = clock()
    await store.deliveries.record(first, conclusion(clock, verdict=again(clock, pause=True)), now=clock())
    clock.advance(5)
    await store.deliveries.record(second, conclusion(clock, verdict=again(clock, pause=True)), now=clock())
    assert [state.paused_at for state in await store.accounts.states()] == [paused_at]


async def test_a_slowed_account_is_held_back_until_the_latest_of_the_times(store: Store, clock: Clock) -> None:
    """Of twenty calls in flight one is told to come back in a minute: the next answer must not shorten that."""
    await receive(store, clock, *(change(str(number), str(number)) for number in range(3)))
    for delivery, slow_s in zip(await claim(store, clock), (60, 1, 90), strict=True):
        slowed = Verdict(Next.RETRY, f"rate limited for {slow_s} s", slow_until=clock.after(slow_s))
        await store.deliveries.record(delivery, conclusion(clock, verdict=slowed), now=clock())
        (state,) = await store.accounts.states()
        latest = 90 if slow_s == 90 else 60
        assert (state.slowed_until, state.slowed_reason) == (clock.after(latest), f"rate limited for {latest} s")


async def test_a_contact_that_is_gone_loses_its_link_once(store: Store, clock: Clock) -> None:
    delivery = await claimed(store, clock)
    link = Link(ADA, "email in email")
    found = conclusion(clock, kind=UNREACHABLE, verdict=again(clock), link=link)
    await store.deliveries.record(delivery, found, now=clock())
    clock.advance(8)
    delivery = await claim_one(store, clock)
    assert (await store.deliveries.pending(delivery)).link == link
    relink = Verdict(Next.RELINK, "contact gone (404)", due_at=clock())
    gone = conclusion(clock, kind=OutcomeKind.CONTACT_GONE, verdict=relink, link=link)
    await store.deliveries.record(delivery, gone, now=clock())
    assert await rows(store, links) == []
    delivery = await claim_one(store, clock)
    assert delivery.relinked
    await bury(store, clock, delivery)
    assert [row["state"] for row in await rows(store, deliveries)] == ["dead"]


async def test_a_link_is_kept_and_replaced_by_a_newer_one(store: Store, clock: Clock) -> None:
    await finish(store, clock, await claimed(store, clock), link=Link(ADA, "email in email"))
    (row,) = await rows(store, links)
    assert (row["source"], row["object_id"], row["account"]) == (SOURCE, PERSON, ACCOUNT)
    assert (row["contact_uuid"], row["found_by"], row["found_at"]) == (ADA, "email in email", clock())
    other = ADA[:-1] + "2"
    clock.advance(9)
    await finish(store, clock, await claimed(store, clock, "d1f0-2"), link=Link(other, "uuid in chartmogul_uuid"))
    (row,) = await rows(store, links)
    assert (row["contact_uuid"], row["found_by"], row["found_at"]) == (other, "uuid in chartmogul_uuid", clock())


async def test_a_skipped_delivery_ends_with_its_reason(store: Store, clock: Clock) -> None:
    delivery = await claimed(store, clock)
    reason = "contact unknown: no contact by link, email; on_unknown is skip"
    ignored = ends(*await pending_ids(store, delivery), state=EventState.IGNORED, reason=reason)
    kind = OutcomeKind.CONTACT_UNKNOWN
    skipped = conclusion(clock, ignored, kind=kind, verdict=Verdict(Next.SKIP, reason), uuid=None)
    assert await store.deliveries.record(delivery, skipped, now=clock())
    (row,) = await rows(store, deliveries)
    assert (row["state"], row["outcome"], row["reason"], row["closed_at"]) == ("skipped", kind.value, reason, clock())
    assert await store.ledger.counts() == {"ignored": 1}


async def test_a_dead_delivery_is_the_letter_of_its_events(store: Store, clock: Clock) -> None:
    delivery = await claimed(store, clock, "d1f0-1", "d1f0-2")
    await bury(store, clock, delivery)
    (row,) = await rows(store, deliveries)
    assert (row["state"], row["outcome"], row["reason"]) == ("dead", "rejected", "rejected (422): email")
    assert {(one["state"], one["delivery_id"]) for one in await rows(store, events)} == {("dead", delivery.id)}


async def test_dead_events_of_a_good_delivery_get_a_letter_of_their_own(store: Store, clock: Clock) -> None:
    """What cannot be mapped waits for a person; what can be sent does not wait for it."""
    delivery = await claimed(store, clock, "d1f0-1", "d1f0-2")
    good, bad = await pending_ids(store, delivery)
    reason = "cannot be mapped: phone: not a phone number"
    mixed = [*ends(good), *ends(bad, state=EventState.DEAD, reason=reason)]
    assert await store.deliveries.record(delivery, conclusion(clock, mixed), now=clock())
    ended, letter = await rows(store, deliveries)
    assert (ended["id"], ended["state"]) == (delivery.id, "delivered")
    assert (letter["state"], letter["outcome"], letter["reason"]) == ("dead", "unmappable", reason)
    assert letter["changes"] == 1
    assert (letter["source"], letter["object_id"], letter["account"]) == (SOURCE, PERSON, ACCOUNT)
    assert letter["closed_at"] == clock()
    assert [one["delivery_id"] for one in await rows(store, events)] == [delivery.id, letter["id"]]
    assert (await store.ledger.audit()).findings == ()


async def test_dead_events_get_a_letter_while_the_rest_is_tried_again(store: Store, clock: Clock) -> None:
    delivery = await claimed(store, clock, "d1f0-1", "d1f0-2")
    _, bad = await pending_ids(store, delivery)
    dead = ends(bad, state=EventState.DEAD, reason="cannot be mapped")
    tried = conclusion(clock, dead, kind=UNREACHABLE, verdict=again(clock))
    await store.deliveries.record(delivery, tried, now=clock())
    assert [row["state"] for row in await rows(store, deliveries)] == ["pending", "dead"]
    clock.advance(8)
    assert await finish(store, clock, await claim_one(store, clock))
    assert [row["state"] for row in await rows(store, deliveries)] == ["delivered", "dead"]
    assert (await store.ledger.audit()).findings == ()


async def test_a_dead_try_whose_contact_changed_meanwhile_leaves_a_letter_and_goes_on(
    store: Store, clock: Clock
) -> None:
    delivery = await claimed(store, clock)
    (first,) = await pending_ids(store, delivery)
    await receive(store, clock, change("d1f0-2"))
    refused = conclusion(
        clock,
        ends(first, state=EventState.DEAD, reason="rejected (422)"),
        kind=OutcomeKind.REJECTED,
        verdict=Verdict(Next.DEAD, "rejected (422)"),
    )
    await store.deliveries.record(delivery, refused, now=clock())
    going_on, letter = await rows(store, deliveries)
    assert (going_on["state"], letter["state"], letter["outcome"]) == ("pending", "dead", "rejected")
    assert (await store.ledger.audit()).findings == ()


async def test_an_event_ends_once(store: Store, clock: Clock) -> None:
    """Even a conclusion that names another's event again leaves its end as it was."""
    await finish(store, clock, await claimed(store, clock))
    (before,) = await rows(store, events)
    await receive(store, clock, change("d1f0-2"))
    again_dead = conclusion(clock, ends(before["id"], state=EventState.IGNORED, reason="no"))
    await store.deliveries.record(await claim_one(store, clock), again_dead, now=clock())
    assert (await rows(store, events))[0] == before


async def test_what_chartmogul_ignores_is_counted_for_each_attribute(store: Store, clock: Clock) -> None:
    first_seen = clock()
    await finish(store, clock, await claimed(store, clock), ignored_attributes=("Lifecycle", "Region"))
    clock.advance(60)
    await finish(store, clock, await claimed(store, clock, "d1f0-2"), ignored_attributes=("Lifecycle",))
    listed = await store.ledger.ignored_attributes()
    assert [(one["attribute"], one["count"]) for one in listed] == [("Lifecycle", 2), ("Region", 1)]
    assert (listed[0]["first_seen_at"], listed[0]["last_seen_at"]) == (first_seen, clock())


async def test_a_try_that_failed_without_naming_its_contact_lets_it_go(store: Store, clock: Clock) -> None:
    """A fault of ours may come after the PATCH: what it carried is in doubt, but others need not wait."""
    delivery = await claimed(store, clock)
    await hold(store, clock, delivery, "title")
    fault = conclusion(clock, kind=OutcomeKind.FAULT, verdict=again(clock), uuid=None)
    assert await store.deliveries.record(delivery, fault, now=clock())
    (contact,) = await rows(store, contacts)
    assert (contact["held_by"], contact["intent"]) == (None, '{"title":["as sent",1,1]}')


async def test_a_nul_in_what_chartmogul_said_does_not_keep_an_attempt_from_the_log(store: Store, clock: Clock) -> None:
    """It is valid in JSON and unknown to PostgreSQL; refused, the try would be repeated for ever."""
    delivery = await claimed(store, clock)
    assert await bury(store, clock, delivery, reason="rejected (422): email \x00")
    (row,) = await rows(store, deliveries)
    assert row["reason"] == "rejected (422): email \u2400"
