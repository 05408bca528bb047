"""Imports: what is read of a file, what is told of the rest, and how records stand beside webhooks."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from service.errors import ServiceError
from service.model import Change, Event, Priority
from service.operations.importing import BATCH, FAULTS_MAX, LINE_BYTES_MAX, Imported, Places, has_columns, import_file
from service.schema import deliveries, events, requests
from service.sources.base import EVENT_BYTES_MAX
from service.store import Store
from tests.support.clock import START, Clock
from tests.support.log import change, claim, receive, rows
from tests.support.service import configure
from tests.support.webhooks import CONFIGURATION

pytestmark = pytest.mark.anyio

AS_OF = START - timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Importer:
    """Imports files into a log."""

    store: Store
    clock: Clock
    directory: Path
    configuration: str = CONFIGURATION

    async def text(self, name: str, text: str | bytes, *, source: str = "pipedrive", **given: Any) -> Imported:  # noqa: ANN401  # what Places takes
        """Write a file and import it."""
        file = self.directory / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return await self.file(file, source=source, **given)

    async def records(self, *records: object, source: str = "pipedrive", **given: Any) -> Imported:  # noqa: ANN401  # as above
        """Import records as lines of JSON."""
        return await self.text(
            "people.jsonl", "".join(json.dumps(one) + "\n" for one in records), source=source, **given
        )

    async def file(
        self,
        file: Path,
        *,
        source: str = "pipedrive",
        as_of: datetime = AS_OF,
        told: list[tuple[int, int]] | None = None,
        stop_after: int | None = None,
        **places: str,
    ) -> Imported:
        """Import a file; ``told`` is given what progress was told, which fails after ``stop_after`` records."""
        configured = configure(self.directory, self.configuration).sources[source]

        def progress(done: Imported) -> None:
            if told is not None:
                told.append((done.records, done.bytes_read))
            if stop_after is not None and done.records >= stop_after:
                raise KeyboardInterrupt

        return await import_file(
            self.store,
            configured,
            file,
            Places.of(configured.source.exported, columns=has_columns(file), **places),
            as_of=as_of,
            clock=self.clock,
            progress=progress,
        )

    async def changes(self) -> list[Change]:
        """What was logged, oldest first."""
        return [event.change for event in await self.owed()]

    async def owed(self) -> list[Event]:
        """What is owed, oldest first."""
        claimed = await claim(self.store, self.clock, limit=1000)
        owed = [event for delivery in claimed for event in (await self.store.deliveries.pending(delivery)).events]
        return sorted(owed, key=lambda event: event.id)


@pytest.fixture
def either(store: Store, clock: Clock, tmp_path: Path) -> Importer:
    """On either engine."""
    return Importer(store, clock, tmp_path)


@pytest.fixture
async def importer(sqlite_url: str, clock: Clock, tmp_path: Path) -> AsyncIterator[Importer]:
    """Where the engine does not matter."""
    store = Store(sqlite_url)
    try:
        await store.migrate()
        yield Importer(store, clock, tmp_path)
    finally:
        await store.close()


def counts(done: Imported) -> tuple[int, int, int, int]:
    return done.records, done.accepted, done.duplicates, done.unusable


def people(count: int, **fields: object) -> list[dict[str, object]]:
    return [{"id": number, "first_name": f"Person {number}", **fields} for number in range(count)]


def lines(records: Sequence[object]) -> str:
    return "".join(json.dumps(one) + "\n" for one in records)


async def test_records_become_changes_of_low_priority(either: Importer) -> None:
    """With nothing kept beside them: the changes hold everything."""
    record = {"id": 101, "job_title": "CFO", "update_time": "2026-02-27T14:02:11Z"}
    assert counts(await either.records(record)) == (1, 1, 0, 0)
    (opened,) = await rows(either.store, deliveries)
    assert (opened["priority"], opened["source"], opened["object_id"]) == (Priority.IMPORT, "pipedrive", "101")
    (found,) = await either.changes()
    assert (found.object_id, found.object_type, found.origin) == ("101", "imported", "import")
    assert (found.values, found.previous, found.changed_fields) == (record, None, None)
    assert found.occurred_at == datetime(2026, 2, 27, 14, 2, 11, tzinfo=UTC)
    (request,) = await rows(either.store, requests)
    assert b"CFO" not in request["raw"]


@pytest.mark.parametrize("name", ["people.jsonl", "people.ndjson", "PEOPLE.JSONL"])
async def test_json_lines_are_read_however_they_are_ended(importer: Importer, name: str) -> None:
    text = b'\xef\xbb\xbf{"id": 1, "name": "Zo\xc3\xab"}\r\n\r\n   \n{"id": "2"}\n{"id": 3}'
    assert counts(await importer.text(name, text)) == (3, 3, 0, 0)
    found = await importer.changes()
    assert [one.object_id for one in found] == ["1", "2", "3"]
    assert found[0].values["name"] == "Zoë"


async def test_unusable_lines_are_named_and_the_others_imported(importer: Importer) -> None:
    """A file of a million records must not be thrown away for one, nor one be lost without a word."""
    bad: list[tuple[bytes, str]] = [
        (b'{"id": 1', "not JSON"),
        (b"[1, 2]", "the record is not an object"),
        (b"null", "the record is not an object"),
        (b'{"name": "Ada"}', "the id at id is missing or not an id"),
        (b'{"id": ""}', "the id at id is missing or not an id"),
        (b'{"id": true}', "the id at id is missing or not an id"),
        (b'{"id": 1.5}', "the id at id is missing or not an id"),
        (b'{"id": "a\\nb"}', "control characters"),
        (json.dumps({"id": "9" * 256}).encode(), "longer than 255 characters"),
        (b'{"id": 7, "update_time": "last week"}', "the time at update_time is not a time"),
        (b'{"id": "\xff"}', "not JSON"),
        (b'{"id": 7, "n": ' + b"[" * 70 + b"]" * 70 + b"}", "deeper than 64 levels"),
        (json.dumps({"id": 7, "note": "x" * EVENT_BYTES_MAX}).encode(), f"larger than {EVENT_BYTES_MAX} bytes"),
        (json.dumps({"id": 7, "note": "x" * LINE_BYTES_MAX}).encode(), f"a line of more than {LINE_BYTES_MAX} bytes"),
        (b"x" * (3 * LINE_BYTES_MAX), f"a line of more than {LINE_BYTES_MAX} bytes"),
    ]
    text = b"".join(
        line + b"\n" + json.dumps({"id": f"good-{at}"}).encode() + b"\n" for at, (line, _) in enumerate(bad)
    )
    done = await importer.text("people.jsonl", text)
    assert counts(done) == (2 * len(bad), len(bad), 0, len(bad))
    assert [fault.line for fault in done.faults] == list(range(1, 2 * len(bad), 2))
    for fault, (_, cause) in zip(done.faults, bad, strict=True):
        assert cause in fault.cause
    assert [one.object_id for one in await importer.changes()] == [f"good-{at}" for at in range(len(bad))]


async def test_of_many_unusable_records_the_first_are_named_and_all_counted(importer: Importer) -> None:
    done = await importer.text("people.jsonl", "{\n" * (FAULTS_MAX + 5))
    assert counts(done) == (FAULTS_MAX + 5, 0, 0, FAULTS_MAX + 5)
    assert [fault.line for fault in done.faults] == list(range(1, FAULTS_MAX + 1))


async def test_faults_hold_no_value(importer: Importer) -> None:
    done = await importer.records({"id": "ada@northwind.example\n"}, {"id": 1, "update_time": "ada@northwind.example"})
    assert done.unusable == 2
    assert "ada" not in str(done.faults)


async def test_a_line_as_long_as_allowed_is_read(importer: Importer) -> None:
    """The limit is one of the reader's memory; the record itself has a lower one."""
    start, end = b'{"id": 1, "name": "Ada"', b"}"
    line = start + b" " * (LINE_BYTES_MAX - len(start) - len(end) - 1) + end + b"\n"
    assert len(line) == LINE_BYTES_MAX
    assert counts(await importer.text("people.jsonl", line + b'{"id": 2}\n')) == (2, 2, 0, 0)


async def test_columns_are_read_with_quotes_newlines_and_a_byte_order_mark(importer: Importer) -> None:
    given = (
        "id,first_name,notes,,job_title",
        '1,Zoë,"two\nlines, ""quoted""",none,CEO',
        "",
        "2,Ada",
        "3,Bo,,,,more,still",
    )
    done = await importer.text("people.csv", "\ufeff" + "".join(f"{row}\r\n" for row in given))
    assert counts(done) == (3, 3, 0, 0)
    found = await importer.changes()
    assert [dict(one.values) for one in found] == [
        {"id": "1", "first_name": "Zoë", "notes": 'two\nlines, "quoted"', "job_title": "CEO"},
        {"id": "2", "first_name": "Ada"},
        {"id": "3", "first_name": "Bo", "notes": "", "job_title": ""},
    ], "a cell that is not there is missing, an empty one is blank"


async def test_unusable_givenare_named_by_the_line_they_begin_at(importer: Importer) -> None:
    """A quoted note runs over many lines: whoever looks for the record needs its first."""
    note = '"a\nb\nc"'
    big = "x" * (EVENT_BYTES_MAX + 1)
    text = f"id,notes\n1,{note}\n,{note}\n3,{note}\n,none\n5,{big}\n6,fits\n"
    done = await importer.text("people.csv", text)
    assert counts(done) == (6, 3, 0, 3)
    assert [(fault.line, fault.cause) for fault in done.faults] == [
        (5, 'the id at "id" is missing or not an id'),
        (11, 'the id at "id" is missing or not an id'),
        (12, f"a record larger than {EVENT_BYTES_MAX} bytes"),
    ]
    assert [one.object_id for one in await importer.changes()] == ["1", "3", "6"]


async def test_columns_are_named_as_the_crm_writes_them(importer: Importer) -> None:
    """Record ID is no path, Company.Name would be another one: of columns, each name is one key."""
    text = "Record ID,Last modified,Company.Name\n101,2026-02-27 14:02,Northwind\n"
    done = await importer.text("people.csv", text, object_id="Record ID", updated_at="Last modified")
    assert counts(done) == (1, 1, 0, 0)
    (found,) = await importer.changes()
    assert (found.object_id, found.occurred_at) == ("101", datetime(2026, 2, 27, 14, 2, tzinfo=UTC))
    assert found.values["Company.Name"] == "Northwind"


async def test_a_long_cell_is_read_and_a_longer_one_ends_the_import(importer: Importer) -> None:
    fits = "x" * 200_000
    assert counts(await importer.text("people.csv", f"id,notes\n1,{fits}\n")) == (1, 1, 0, 0)
    with pytest.raises(ServiceError, match="not CSV in UTF-8 near line 2") as told:
        await importer.text("people.csv", f"id,notes\n1,{'x' * (LINE_BYTES_MAX + 1)}\n")
    assert told.value.hint == "export it again as CSV in UTF-8"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b'id,notes\n1,"never closed\n2,more\n', 3),
        (b'id,notes\n1,"closed"x\n', 2),
        (b"id,first_name\n1,Zo\xeb\n", 0),
        ("id\n1\n".encode("utf-16"), 0),
    ],
)
async def test_what_is_no_csv_is_said_so(importer: Importer, text: bytes, line: int) -> None:
    with pytest.raises(ServiceError, match=f"not CSV in UTF-8 near line {line}: "):
        await importer.text("people.csv", text)
    assert await rows(importer.store, events) == []


@pytest.mark.parametrize("text", ["", "id,first_name\n", "\n\n"])
async def test_a_file_without_records_is_no_fault(importer: Importer, text: str) -> None:
    assert counts(await importer.text("people.csv", text)) == (0, 0, 0, 0)
    assert counts(await importer.text("people.jsonl", "")) == (0, 0, 0, 0)


@pytest.mark.parametrize("name", ["people.xlsx", "people", "people.json", "people.csv.gz"])
async def test_another_kind_of_file_is_said_so(importer: Importer, name: str) -> None:
    with pytest.raises(ServiceError, match="a file that ends in") as told:
        await importer.text(name, "{}")
    assert told.value.hint == "give a .jsonl or a .csv file"


async def test_an_export_of_hubspots_is_read_as_its_api_gives_it(importer: Importer) -> None:
    """https://developers.hubspot.com/docs/api/crm/contacts: the fields stand one level down."""
    record = {
        "id": "201",
        "properties": {"email": "j.brandt@nordwind-logistik.example", "jobtitle": "CFO", "lastname": None},
        "createdAt": "2024-01-10T08:00:00.000Z",
        "updatedAt": "2026-02-27T14:02:11.341Z",
        "archived": False,
    }
    bare = {"id": "202", "updatedAt": "2026-02-27T14:02:11.341Z"}
    done = await importer.records(record, bare, source="hubspot")
    assert counts(done) == (2, 1, 0, 1)
    assert done.faults[0].cause == "what stands at properties is not an object"
    (found,) = await importer.changes()
    assert (found.object_id, dict(found.values)) == ("201", record["properties"])
    assert found.occurred_at == datetime(2026, 2, 27, 14, 2, 11, 341_000, tzinfo=UTC)


async def test_columns_of_a_crm_whose_api_nests_its_fields_are_the_fields(importer: Importer) -> None:
    text = "id,jobtitle,updatedAt\n201,CFO,2026-02-27T14:02:11Z\n"
    assert counts(await importer.text("people.csv", text, source="hubspot")) == (1, 1, 0, 0)
    (found,) = await importer.changes()
    assert found.values["jobtitle"] == "CFO"


@pytest.mark.parametrize("at", ["2026-02-27 14:02:11", "2026-02-27T14:02:11Z", "2026-02-27T15:02:11+01:00"])
async def test_an_export_of_pipedrives_is_read_as_either_api_gives_it(importer: Importer, at: str) -> None:
    await importer.records({"id": 101, "update_time": at, "emails": [{"value": "a@b.example", "primary": True}]})
    (found,) = await importer.changes()
    assert found.occurred_at == datetime(2026, 2, 27, 14, 2, 11, tzinfo=UTC)


async def test_places_can_be_told(importer: Importer) -> None:
    record = {"ids": [{"kind": "crm", "value": 7}], "seen": {"at": "2026-02-27T14:02:11Z"}, "update_time": "never"}
    done = await importer.records(record, object_id="ids[?kind=crm].value", updated_at="seen.at")
    assert done.unusable == 0
    (found,) = await importer.changes()
    assert (found.object_id, found.occurred_at) == ("7", datetime(2026, 2, 27, 14, 2, 11, tzinfo=UTC))


@pytest.mark.parametrize("told", [{}, {"update_time": None}, {"update_time": ""}])
async def test_a_record_without_a_time_is_as_old_as_the_export(importer: Importer, told: dict[str, object]) -> None:
    await importer.records({"id": 101, **told})
    (found,) = await importer.changes()
    assert found.occurred_at == AS_OF


async def test_a_webhook_newer_than_the_export_wins_and_an_older_one_loses(either: Importer) -> None:
    """By the order of the log: what decides is when a record changed, not when it was told."""
    await receive(either.store, either.clock, change("newer", "101", occurred_at=AS_OF + timedelta(hours=1)))
    await receive(either.store, either.clock, change("older", "101", occurred_at=AS_OF - timedelta(hours=1)))
    await either.records({"id": 101})
    by_order = sorted(await either.owed(), key=lambda event: event.order)
    assert [event.change.dedup_key[:7] for event in by_order] == ["older", "import:", "newer"]


async def test_what_crms_send_goes_before_what_is_imported(either: Importer) -> None:
    await either.records(*people(50))
    either.clock.advance(60)
    await receive(either.store, either.clock, change("live", "900"), change("of one of them", "7"))
    first, second, *rest = await claim(either.store, either.clock, limit=20)
    assert {first.object_id, second.object_id} == {"900", "7"}
    assert len(rest) == 18


async def test_the_same_file_twice_is_all_duplicates(either: Importer) -> None:
    records = people(BATCH + 50, update_time="2026-02-27T14:02:11Z")
    assert counts(await either.records(*records)) == (250, 250, 0, 0)
    either.clock.advance(3600)
    again = await either.records(*records, as_of=AS_OF + timedelta(hours=1))
    assert counts(again) == (250, 0, 250, 0)
    turned = [dict(reversed(record.items())) for record in reversed(records)]
    assert counts(await either.records(*turned)) == (250, 0, 250, 0), "in whatever order they are told"
    assert len(await rows(either.store, events)) == 250
    assert len(await rows(either.store, requests)) == 2, "nothing is kept of what was known"


async def test_a_record_that_changed_since_is_another_change(importer: Importer) -> None:
    await importer.records({"id": 1, "job_title": "CFO", "update_time": "2026-02-27T14:02:11Z"})
    later = {"id": 1, "job_title": "CEO", "update_time": "2026-02-28T14:02:11Z"}
    assert counts(await importer.records(later)) == (1, 1, 0, 0)
    (opened,) = await rows(importer.store, deliveries)
    assert opened["changes"] == 2


async def test_an_import_that_was_broken_off_is_gone_on_with_by_beginning_again(either: Importer) -> None:
    records = people(5 * BATCH)
    file = either.directory / "people.jsonl"
    file.write_text(lines(records))
    with pytest.raises(KeyboardInterrupt):
        await either.file(file, stop_after=2 * BATCH)
    assert len(await rows(either.store, events)) == 2 * BATCH
    told: list[tuple[int, int]] = []
    done = await either.file(file, told=told)
    assert counts(done) == (5 * BATCH, 3 * BATCH, 2 * BATCH, 0)
    assert [row["object_id"] for row in await rows(either.store, events)] == [str(one["id"]) for one in records]
    assert [read for read, _ in told] == [BATCH, 2 * BATCH, 3 * BATCH, 4 * BATCH, 5 * BATCH, 5 * BATCH]
    assert told == sorted(told), "how much of the file is read rises"
    assert told[-1][1] == file.stat().st_size
    assert (await either.store.ledger.audit()).findings == ()


SALESFORCE = """
sources:
  salesforce:
    preset: salesforce
    auth: {none: "I accept unauthenticated webhooks"}
    mapping: {title: Title}
"""


async def test_ids_are_logged_as_the_webhooks_of_their_crm_have_them(
    store: Store, clock: Clock, tmp_path: Path
) -> None:
    """Salesforce's reports write 15 characters of an id, and its messages 18."""
    importer = Importer(store, clock, tmp_path, SALESFORCE)
    csv = "Id,Title\n0035e00000ZkM3h,CFO\n0035e00000ZkM3hAAF,CFO\n"
    await importer.text("people.csv", csv, source="salesforce", updated_at="")
    assert {one.object_id for one in await importer.changes()} == {"0035e00000ZkM3hAAF"}
