"""A CRM that changes under a mapping is told of: on health, and in the log once; and never by anybody's value."""

import json
from collections.abc import Iterable, MutableMapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from service.drift import BACK_AFTER, FORGOTTEN_AFTER, GONE_AFTER, GONE_AFTER_LEFT_OUT, STEADY
from service.main import real_clock
from service.sandbox import Fault, FaultKind, Settings
from service.sandbox.settings import UNLIMITED
from service.store.replay import Selection
from tests.flow.steps import T0, Started, later, replay
from tests.readback.held import HELD
from tests.support.apis.base import ApiAnswer, ApiRequest
from tests.support.apis.hubspot import Api
from tests.support.apis.server import serving
from tests.support.canary import CANARY, holds_canary
from tests.support.sandbox import RunningSandbox
from tests.support.service import Running, Shifted
from tests.support.wait import eventually
from tests.support.webhooks import CONFIGURATION, HUBSPOT_SECRET, Webhook, hubspot, hubspot_event, pipedrive

pytestmark = pytest.mark.anyio

WEAK: Final = CONFIGURATION.replace("[{e164: GB}]", "[{e164: GB}], on_error: skip").replace(
    'map: {"1": Lead, "2": Customer}', 'map: {"1": Lead, "2": Customer}, default: Other'
)
"""It takes whatever comes, and says nothing of it by itself."""
MORE: Final = WEAK.replace('"2": Customer}', '"2": Customer, "3": Partner}')


class Person:
    """One person of Pipedrive's, who changes once a second."""

    def __init__(self, number: int = 101) -> None:
        self._number = number
        self._changes = 0

    def changes(self, times: int = 1, **record: Any) -> list[Webhook]:  # noqa: ANN401  # any field of a person
        """So many changes, each with this record."""
        return [self._change(record) for _ in range(times)]

    def _change(self, record: dict[str, Any]) -> Webhook:
        self._changes += 1
        at = T0 + timedelta(seconds=self._changes)
        return pipedrive(self._number, f"{self._number}-{self._changes}", at, **record)


@pytest.fixture
def amara() -> Person:
    return Person()


async def sent(service: Running, *webhooks: Webhook) -> None:
    await service.accepted(*webhooks)
    await service.settled()


async def reasons(service: Running) -> list[str]:
    document = await service.health()
    return [reason["cause"] for reason in document["reasons"]]


async def told(service: Running, *parts: str) -> None:
    """Return once health has as many reasons as parts, each with one of them."""

    async def now() -> bool:
        found = await reasons(service)
        return len(found) == len(parts) and all(any(part in one for one in found) for part in parts)

    await eventually(now)


def drifts(lines: Sequence[MutableMapping[str, Any]]) -> list[tuple[str, str, str]]:
    return [(line["kind"], line["target"], line["path"]) for line in lines if line["event"] == "drift"]


async def test_a_field_that_the_crm_renames_is_told_of_until_it_is_back(either: Running, amara: Person) -> None:
    with capture_logs() as lines:
        await sent(either, *amara.changes(STEADY, job_title="CFO"), *amara.changes(GONE_AFTER, role="CFO"))
        await told(either, f"job_title (for title) does not come any more, {GONE_AFTER} records since")
        await sent(either, *amara.changes(2, role="CFO"))
        await told(either, f"{GONE_AFTER + 2} records since")
        await sent(either, *amara.changes(BACK_AFTER, job_title="CEO"))
        await told(either)
    assert drifts(lines) == [("path_gone", "title", "job_title")], "once, however often it is met"
    (line,) = [line for line in lines if line["event"] == "drift"]
    assert (line["source"], line["log_level"], "explain" in line["hint"]) == ("pipedrive", "warning", True)


async def test_a_field_that_the_filter_asks_for_is_told_of_once_it_is_renamed(start: Started, amara: Person) -> None:
    """From then on every change is left out, and nothing else would say so."""
    only = "    when: {field: kind, equals: customer}\n    mapping:"
    async with start(WEAK.replace("    mapping:", only, 1)) as service:
        await sent(service, *amara.changes(STEADY, kind="customer"), *amara.changes(GONE_AFTER, sort="customer"))
        await told(service, f"kind (for when) does not come any more, {GONE_AFTER} records since")


async def test_every_other_kind_is_told_of_without_any_value(start: Started, amara: Person) -> None:
    plain = {"label": "1", "job_title": CANARY, "phones": [{"primary": True, "value": "020 7946 0018"}]}
    bad = [{"primary": True, "value": f"call {CANARY}"}]
    async with start(WEAK) as service:
        with capture_logs() as lines:
            await sent(service, *amara.changes(STEADY, **plain))
            await sent(service, *amara.changes(3, **(plain | {"label": CANARY})))
            await sent(service, *amara.changes(2, **(plain | {"phones": bad})))
            await sent(service, *amara.changes(1, **(plain | {"job_title": [CANARY]})))
            await told(
                service,
                "custom.Lifecycle takes its default for a value of label, 3 events since",
                "phone is left out, e164: ",
                "job_title (for title) changed its type, text → list, 1 record since",
                "dead letters: 1",
            )
        health, kept = await service.health(), await holds_canary(service.store)
    assert sorted(drifts(lines)) == [
        ("skipped_error", "phone", "phones[?primary].value"),
        ("stood_in", "custom.Lifecycle", "label"),
        ("type_changed", "title", "job_title"),
    ]
    assert CANARY not in json.dumps([health, lines], default=str)
    assert kept, "or this would show nothing"
    assert not [place for place in kept if place.startswith(("drifts.", "sightings."))]


@pytest.mark.parametrize(
    ("configuration", "record", "told_of", "status"),
    [
        (WEAK, {"label": "9"}, "takes its default for a value of label", "ok"),
        (WEAK, {"phones": [{"primary": True, "value": "call me"}]}, "phone is left out", "ok"),
        (CONFIGURATION, {"label": "9"}, "has no entry for a value of label", "warn"),
        (WEAK.replace("default: Other", "on_error: skip"), {"label": "9"}, "has no entry for a value of label", "warn"),
    ],
    ids=["a default", "an error that is skipped", "no entry that fails", "no entry that is skipped"],
)
async def test_what_a_rule_foresees_is_listed_and_health_is_well(
    start: Started, amara: Person, configuration: str, record: dict[str, Any], told_of: str, status: str
) -> None:
    """It may be meant for all that is not listed or not to be used, for as long as such values come."""
    async with start(configuration) as service:
        with capture_logs() as lines:
            await sent(service, *amara.changes(2, **record))
            await eventually(lambda: len(drifts(lines)) == 1)
            document = await service.health()
    assert document["status"] == status
    level = "info" if status == "ok" else "warning"
    assert [line["log_level"] for line in lines if line["event"] == "drift"] == [level]
    (reason,) = [reason for reason in document["reasons"] if told_of in reason["cause"]]
    assert (reason["status"], "2 events since" in reason["cause"]) == (status, True)


class Hiding(Api):
    """HubSpot's API, which passes over the names of properties that are none any more."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = ""

    def answer(self, request: ApiRequest) -> ApiAnswer:
        """Answer without what is hidden."""
        for record in self.records.values():
            record["properties"].setdefault("jobtitle", CANARY)
        given = super().answer(request)
        for record in given.document.get("results", ()):
            record["properties"].pop(self.hidden, None)
        return given


async def test_a_property_that_the_records_read_back_have_no_more_is_told_of(start: Started) -> None:
    """The events themselves name one property each: what they lack says nothing."""
    api = Hiding()
    api.records = {str(number): HELD["hubspot"].record(str(number)) for number in range(100)}
    with serving(api) as served:
        source = {
            "preset": "hubspot",
            "auth": {"secret": HUBSPOT_SECRET},
            "read_back": {**api.credentials, "base_url": served.base_url},
            "resolve": [{"email": "email"}],
            "on_unknown": "skip",
            "preset_mapping": False,
            "mapping": {"first_name": "firstname", "title": "jobtitle"},
        }
        async with start(json.dumps({"sources": {"hubspot": source}})) as service:
            await sent(service, hubspot(events(range(STEADY), first=1), real_clock()))
            api.hidden = "jobtitle"
            await sent(service, hubspot(events(range(GONE_AFTER_LEFT_OUT), first=1001), real_clock()))
            await told(service, f"jobtitle (for title) does not come any more, {GONE_AFTER_LEFT_OUT} records since")


def events(people: Iterable[int], *, first: int) -> list[dict[str, Any]]:
    """A change of each person's first name, numbered on."""
    return [hubspot_event(one, "firstname", "Amara", T0, number=first + one) for one in people]


async def test_an_event_that_is_tried_again_counts_once(
    start: Started, sandbox: RunningSandbox, shifted: Shifted, amara: Person
) -> None:
    sandbox.add_faults(Fault(kind=FaultKind.STATUS, status=503, method="PATCH", count=2))
    async with start(WEAK) as service:
        await service.accepted(*amara.changes(label="9"))
        for tries in (1, 2):
            await service.tried(tries)
            later(service, shifted)
        await service.settled()
        await told(service, "custom.Lifecycle takes its default for a value of label, 1 event since")


async def test_a_replay_of_what_is_old_is_no_drift(start: Started, shifted: Shifted, amara: Person) -> None:
    async with start(WEAK) as service:
        old, new = amara.changes(GONE_AFTER, label="9"), amara.changes(STEADY, label="1", job_title="CFO")
        await sent(service, *old, *new)
        await told(service, f"{GONE_AFTER} events since")
        await replay(service, shifted, Selection(dead_only=False))
        await service.settled()
        await sent(service, *amara.changes(1, label="9"))
        await told(service, f"{GONE_AFTER + 1} events since")


async def test_other_rules_begin_afresh(start: Started, tmp_path: Path, amara: Person) -> None:
    async with start(WEAK) as service:
        await sent(service, *amara.changes(2, label="3"))
        await told(service, "takes its default for a value of label, 2 events since")
        (tmp_path / "config.yaml").write_text(MORE, encoding="utf-8")
        await service.service.reload.now()
        await told(service)
        await sent(service, *amara.changes(1, label="4"))
        await told(service, "takes its default for a value of label, 1 event since")


async def test_what_is_under_way_by_other_rules_does_not_count(
    start: Started, sandbox: RunningSandbox, tmp_path: Path, amara: Person
) -> None:
    sandbox.configure(Settings(limits=UNLIMITED, latency_ms=300))
    async with start(WEAK) as service:
        await service.accepted(*amara.changes(1, label="9"))
        await eventually(lambda: bool(sandbox.requests()))
        (tmp_path / "config.yaml").write_text(MORE, encoding="utf-8")
        await service.service.reload.now()
        await service.settled()
        await sent(service, *amara.changes(1, label="9"))
        await told(service, "takes its default for a value of label, 1 event since")


async def test_a_restart_forgets_nothing(start: Started, amara: Person) -> None:
    """Counted half before it and half after; and what was told of before is on health from the first moment."""
    async with start(WEAK) as service:
        await sent(service, *amara.changes(STEADY, job_title="CFO"), *amara.changes(GONE_AFTER - 1, label="9"))
    async with start(WEAK) as service:
        assert [f"{GONE_AFTER - 1} events since" in one for one in await reasons(service)] == [True]
        await sent(service, *amara.changes(1, label="9"))
        await told(service, "job_title (for title) does not come any more", f"{GONE_AFTER} events since")


async def test_what_was_not_met_for_a_week_is_not_told_of_any_more(
    start: Started, shifted: Shifted, amara: Person
) -> None:
    async with start(WEAK) as service:
        await sent(service, *amara.changes(1, label="9"))
        await told(service, "takes its default")
        shifted.advance(FORGOTTEN_AFTER.total_seconds() + 1)
        assert [one for one in await reasons(service) if "takes its default" in one] == []


async def test_what_cannot_be_written_now_is_told_and_written_later(start: Started, amara: Person) -> None:
    async with start(WEAK) as service:
        database = service.store._database
        await database.write(lambda connection: connection.execute(text("ALTER TABLE drifts RENAME TO away")).rowcount)
        with capture_logs() as lines:
            await sent(service, *amara.changes(2, label="9"))
            await eventually(lambda: drifts(lines) == [("stood_in", "custom.Lifecycle", "label")])
        await database.write(lambda connection: connection.execute(text("ALTER TABLE away RENAME TO drifts")).rowcount)
        await told(service, "takes its default for a value of label, 2 events since")
