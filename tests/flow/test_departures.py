"""Records that are merged, deleted, restored or forgotten in the CRM, and changes that are nobody's business."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from service.main import real_clock
from service.model import Carried, Doubt
from service.schema import events, links, requests
from service.store.opening import CrmRecord
from tests.flow.steps import T0, Started, books_close, last_delivery, later, patched, states
from tests.support.log import by_hand, rows
from tests.support.sandbox import RunningSandbox
from tests.support.service import Running, Shifted, configure, replica, running
from tests.support.wait import eventually
from tests.support.webhooks import (
    ANA_UUID,
    CONFIGURATION,
    GRACE,
    GRACE_UUID,
    Webhook,
    hubspot,
    hubspot_event,
    pipedrive,
)

pytestmark = pytest.mark.anyio

MARKING = CONFIGURATION.replace(
    "    preset: pipedrive\n",
    "    preset: pipedrive\n    on_deleted: {custom: {Lifecycle: {const: Gone from the CRM}}}\n",
)


def pipedrive_merge(survivor: int, absorbed: int) -> list[Webhook]:
    """What Pipedrive sends of a merge: the deletion of the absorbed person, and the change of the survivor."""
    gone = pipedrive(absorbed, "pd-gone", T0 + timedelta(seconds=5))
    document = json.loads(gone.body)
    document["meta"] |= {"action": "delete", "merged_to_id": survivor}
    document |= {"previous": document["data"], "data": None}
    stays = pipedrive(survivor, "pd-stays", T0 + timedelta(seconds=5), email=None, job_title="Chair")
    changed = json.loads(stays.body)
    changed["meta"]["merged_from_id"] = absorbed
    return [gone.changed(json.dumps(document).encode()), stays.changed(json.dumps(changed).encode())]


def pipedrive_deletion(person: int, *, at: int = 5) -> Webhook:
    gone = pipedrive(person, f"pd-gone-{person}", T0 + timedelta(seconds=at))
    document = json.loads(gone.body)
    document["meta"]["action"] = "delete"
    return gone.changed(json.dumps(document | {"previous": document["data"], "data": None}).encode())


def hubspot_merge(survivor: int, absorbed: int) -> Webhook:
    merge = hubspot_event(0, "", "", T0 + timedelta(seconds=5), number=2)
    kept = {name: value for name, value in merge.items() if name not in {"propertyName", "propertyValue", "objectId"}}
    told = {"subscriptionType": "contact.merge", "primaryObjectId": survivor, "mergedObjectIds": [absorbed]}
    return hubspot([kept | told], real_clock())


async def linked(service: Running) -> dict[str, str]:
    return {row["object_id"]: row["contact_uuid"] for row in await rows(service.store, links)}


@pytest.mark.parametrize("reverse", [False, True])
async def test_the_survivor_of_a_merge_goes_on_with_the_contact_of_the_absorbed(
    either: Running, sandbox: RunningSandbox, *, reverse: bool
) -> None:
    """In whatever order the two halves of it arrive."""
    await either.accepted(pipedrive(101, "pd-1", T0, job_title="CFO"))
    await either.settled()
    for webhook in sorted(pipedrive_merge(102, 101), key=lambda one: one.body, reverse=reverse):
        await either.accepted(webhook)
        await either.settled()
    assert await linked(either) == {"102": GRACE_UUID}
    assert sandbox.contact(GRACE_UUID)["title"] == "Chair", "found by the link: it had no email"
    assert {line["reason"] for line in await either.events() if line["state"] == "ignored"} == {
        "merged into 102 in the CRM"
    }
    assert await books_close(either)


async def test_a_hubspot_merge_lets_the_link_follow_even_where_nothing_can_be_sent(
    service: Running, sandbox: RunningSandbox
) -> None:
    await service.accepted(hubspot([hubspot_event(51, "email", GRACE, T0)], real_clock()))
    await service.settled()
    await service.accepted(hubspot_merge(52, 51))
    await service.settled()
    assert await linked(service) == {"52": GRACE_UUID}
    await service.accepted(
        hubspot([hubspot_event(52, "jobtitle", "Chair", T0 + timedelta(seconds=9), number=3)], real_clock())
    )
    await service.settled()
    assert sandbox.contact(GRACE_UUID)["title"] == "Chair"
    assert await books_close(service)


async def test_a_deletion_touches_nothing_in_chartmogul(service: Running, sandbox: RunningSandbox) -> None:
    await service.accepted(pipedrive(101, "pd-1", T0, job_title="CFO"), pipedrive_deletion(101))
    await service.settled()
    assert patched(sandbox) == [{"title": "CFO"}]
    assert await states(service) == ["delivered", "ignored"]


async def test_a_deletion_sends_what_on_deleted_says(start: Started, sandbox: RunningSandbox) -> None:
    async with start(MARKING) as service:
        await service.accepted(pipedrive(101, "pd-1", T0, job_title="CFO", label="2"))
        await service.settled()
        await service.accepted(pipedrive_deletion(101))
        await service.settled()
        assert patched(sandbox)[-1] == {"custom": [{"key": "Lifecycle", "value": "Gone from the CRM"}]}
        assert sandbox.contact(GRACE_UUID)["title"] == "CFO"
        assert await states(service) == ["delivered", "delivered"]


async def test_a_deletion_that_comes_late_does_not_stand_over_a_newer_change(
    start: Started, sandbox: RunningSandbox
) -> None:
    async with start(MARKING) as service:
        await service.accepted(pipedrive(101, "pd-2", T0 + timedelta(seconds=9), job_title="CFO", label="2"))
        await service.settled()
        await service.accepted(pipedrive_deletion(101, at=1))
        await service.settled()
        assert len(patched(sandbox)) == 1
        assert await states(service) == ["delivered", "merged"]


async def test_a_privacy_deletion_leaves_nothing_of_the_person(either: Running, sandbox: RunningSandbox) -> None:
    canary = "canary-7b1e"
    both = [hubspot_event(51, "email", GRACE, T0), hubspot_event(51, "jobtitle", canary, T0, number=2)]
    await either.accepted(hubspot(both, real_clock()))
    await either.settled()
    gone = {key: value for key, value in hubspot_event(51, "", "", T0, number=3).items() if "property" not in key}
    deleted = gone | {"subscriptionType": "contact.deletion", "eventId": 4}
    await either.accepted(hubspot([deleted, gone | {"subscriptionType": "contact.privacyDeletion"}], real_clock()))
    await either.settled()
    kept: list[Any] = [*await rows(either.store, requests), *await rows(either.store, events)]
    assert not any(canary.encode() in bytes(row.get("raw") or row.get("change") or b"") for row in kept)
    story = await either.store.ledger.story("51")
    assert story.fields == {}
    assert await linked(either) == {}
    assert sandbox.contact(GRACE_UUID)["title"] == canary, "ChartMogul's contacts are not ours to delete"
    reasons = {line["reason"] for line in await either.events() if line["state"] == "ignored"}
    assert reasons == {"deleted in the CRM", "privacy deletion in the CRM: what was kept of the record is erased"}
    assert await books_close(either)


async def test_origins_and_actors_that_are_ignored_send_nothing(start: Started, sandbox: RunningSandbox) -> None:
    ignoring = CONFIGURATION.replace(
        "    preset: hubspot\n", "    preset: hubspot\n    ignore: {origin: import, actor: [userId:7]}\n"
    )
    async with start(ignoring) as service:
        flood = hubspot_event(51, "email", GRACE, T0) | {"changeSource": "IMPORT"}
        robot = hubspot_event(51, "jobtitle", "CEO", T0, number=2) | {"sourceId": "userId:7"}
        await service.accepted(hubspot([flood, robot], real_clock()))
        await service.settled()
        assert sandbox.requests() == []
        assert [line["reason"] for line in await service.events()] == [
            "origin IMPORT is ignored by the configuration",
            "actor userId:7 is ignored by the configuration",
        ]
        assert await service.deliveries() == []


async def test_an_echo_of_what_was_sent_makes_no_call(service: Running, sandbox: RunningSandbox) -> None:
    """Whatever its origin: values are compared."""
    await service.accepted(pipedrive(101, "pd-1", T0, job_title="CFO"))
    await service.settled()
    sandbox.forget_requests()
    await service.accepted(pipedrive(101, "pd-2", T0 + timedelta(seconds=3), job_title="CFO"))
    await service.settled()
    assert sandbox.requests() == []
    assert (await last_delivery(service))["outcome"] == "unchanged"
    assert sandbox.contact(ANA_UUID)["title"] != "CFO"


async def test_a_contact_that_is_in_doubt_is_put_right_though_its_record_was_merged_away(
    start: Started, sandbox: RunningSandbox, shifted: Shifted
) -> None:
    async with start() as service:
        first = [hubspot_event(51, "email", GRACE, T0), hubspot_event(51, "jobtitle", "CEO", T0, number=3)]
        await service.accepted(hubspot(first, real_clock()))
        await service.settled()
        record, until = CrmRecord("default", "hubspot", "51"), shifted() + timedelta(seconds=600)
        late = Doubt(until, {"title": Carried("CFO", (1, 1))})
        await service.store.contacts.doubt(record, GRACE_UUID, late, now=shifted())
        await service.accepted(hubspot_merge(52, 51))

        async def followed() -> bool:
            return await linked(service) == {"52": GRACE_UUID}

        await eventually(followed)
        sandbox.forget_requests()
        later(service, shifted)
        await service.settled()
        assert patched(sandbox) == [{"title": "CEO"}]
        assert await books_close(service)


async def test_a_privacy_deletion_waits_for_whoever_would_bring_values_back(tmp_path: Path) -> None:
    async with running(configure(tmp_path)) as service, replica(service) as other:
        await service.service.worker.stop()
        await service.accepted(pipedrive(101, "pd-1", T0, job_title="CFO"))
        now, until = real_clock(), real_clock() + timedelta(seconds=60)
        claims: dict[str, Any] = {"account": "default", "owner": "first", "lease_until": until, "limit": 1}
        (busy,) = await service.store.deliveries.claim(now=now, **claims)
        late = timedelta(seconds=30)
        assert await service.store.contacts.hold(busy, GRACE_UUID, intent={}, now=now, until=until, late=late)
        row = {"source": "hubspot", "object_id": "51", "account": "default", "contact_uuid": GRACE_UUID}
        await by_hand(service.store, insert(links).values(row | {"found_by": "email in email", "found_at": now}))
        gone = {key: value for key, value in hubspot_event(51, "", "", T0).items() if "property" not in key}
        await service.accepted(hubspot([gone | {"subscriptionType": "contact.privacyDeletion"}], real_clock()))
        (privacy,) = await service.store.deliveries.claim(now=real_clock(), **claims)
        assert await other.pipeline.deliver(privacy, lease_until=until) is None
        assert await service.store.ledger.counts() == {"pending": 2}
        await service.store.deliveries.release(busy, due_at=now + timedelta(hours=1))
        (privacy,) = await service.store.deliveries.claim(now=real_clock() + timedelta(seconds=5), **claims)
        assert await other.pipeline.deliver(privacy, lease_until=until) is not None
        assert await service.store.ledger.counts() == {"ignored": 1, "pending": 1}
        assert await rows(service.store, links) == []
