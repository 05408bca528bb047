"""Records that are merged, deleted, restored or forgotten in the CRM, and changes that are nobody's business."""

import json
from datetime import timedelta
from typing import Any

import pytest

from service.schema import events, links, requests
from tests.flow.steps import T0, Started, books_close, last_delivery, patched, states
from tests.support.log import rows
from tests.support.sandbox import RunningSandbox
from tests.support.service import Running
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
    await service.accepted(hubspot([hubspot_event(51, "email", GRACE, T0)], T0))
    await service.settled()
    merge = hubspot_event(0, "", "", T0 + timedelta(seconds=5), number=2)
    for name in ("propertyName", "propertyValue", "objectId"):
        del merge[name]
    merge |= {"subscriptionType": "contact.merge", "primaryObjectId": 52, "mergedObjectIds": [51]}
    await service.accepted(hubspot([merge], T0))
    await service.settled()
    assert await linked(service) == {"52": GRACE_UUID}
    await service.accepted(hubspot([hubspot_event(52, "jobtitle", "Chair", T0 + timedelta(seconds=9), number=3)], T0))
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
    await either.accepted(hubspot(both, T0))
    await either.settled()
    gone = {key: value for key, value in hubspot_event(51, "", "", T0, number=3).items() if "property" not in key}
    deleted = gone | {"subscriptionType": "contact.deletion", "eventId": 4}
    await either.accepted(hubspot([deleted, gone | {"subscriptionType": "contact.privacyDeletion"}], T0))
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
        await service.accepted(hubspot([flood, robot], T0))
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
