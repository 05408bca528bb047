"""Imports records that a CRM holds already, from JSON Lines or CSV, through the same log as its webhooks."""

import asyncio
import csv
import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path as FilePath
from typing import Any, BinaryIO, Final, NamedTuple

import orjson

from service.errors import ParseError, RequestError, ServiceError
from service.model import IMPORTED, MISSING, Action, Arrival, Change, InboundRequest, Json, Priority, to_micros
from service.paths import Path
from service.pipeline import ConfiguredSource
from service.sources.base import EVENT_BYTES_MAX, Exported, Source, identifier, instant, mapping_at, read_json
from service.store import Store

BATCH: Final = 200
"""Records that become one arrival."""
LINE_BYTES_MAX: Final = 1024 * 1024
"""Of one line of JSON, and of one field of CSV."""
FAULTS_MAX: Final = 20
"""Unusable records that a report names; more are counted."""
BREATH_S: Final = 0.01
"""Between two batches: a service on the same file wants to write too."""
OBJECT_TYPE: Final = "imported"
BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Fault:
    """A record that cannot be imported: where it begins, and why."""

    line: int
    cause: str


@dataclass(slots=True)
class Imported:
    """How far an import came. ``duplicates`` were in the log already: an import is gone on with by beginning again."""

    records: int = 0
    accepted: int = 0
    duplicates: int = 0
    unusable: int = 0
    bytes_read: int = 0
    faults: list[Fault] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Places:
    """Where the id, the time of the last change and the fields stand in a record."""

    object_id: Path
    updated_at: Path | None
    values: Path | None

    @classmethod
    def of(
        cls, exported: Exported, *, columns: bool, object_id: str | None = None, updated_at: str | None = None
    ) -> "Places":
        """Return the places of a CRM's exports, but for those that are given. Raises PathError.

        Of a file of ``columns`` each is the name of one, whatever characters it has, and the fields are its columns.
        """
        place = _column if columns else _path
        at = updated_at if updated_at is not None else exported.updated_at
        values = None if columns else exported.values
        return cls(place(object_id or exported.object_id), place(at) if at else None, place(values) if values else None)


async def import_file(
    store: Store,
    configured: ConfiguredSource,
    file: FilePath,
    places: Places,
    *,
    as_of: datetime,
    clock: Callable[[], datetime],
    progress: Callable[[Imported], None],
) -> Imported:
    """Log every record of a file as a change, to be delivered behind everything else; tell after each batch.

    A record is ordered by its own time, else by ``as_of``, the time of the export: what a webhook said since is newer.
    The same record imported twice is one change. Raises ServiceError if the file is neither ``.jsonl`` nor ``.csv``.
    """
    done = Imported()
    batch: list[Change] = []
    for row in _rows(file):
        done.records, done.bytes_read = done.records + 1, row.bytes_read
        try:
            batch.append(_change(row.record, places, as_of, configured.source))
        except RequestError as error:
            done.unusable += 1
            if len(done.faults) < FAULTS_MAX:
                done.faults.append(Fault(row.line, error.cause))
        if len(batch) == BATCH:
            await _append(store, configured, batch, done, clock())
            batch = []
            progress(done)
            await asyncio.sleep(BREATH_S)
    if batch:
        await _append(store, configured, batch, done, clock())
    progress(done)
    return done


def has_columns(file: FilePath) -> bool:
    """Say whether a file's records are rows of columns rather than documents."""
    return file.suffix.lower() == ".csv"


class _Row(NamedTuple):
    """A record as read, JSON still to be parsed or columns of CSV; where it begins, and how far the file is read."""

    line: int
    record: bytes | Json
    bytes_read: int


async def _append(
    store: Store, configured: ConfiguredSource, batch: list[Change], done: Imported, now: datetime
) -> None:
    # The changes hold everything: no request is kept beside them.
    request = InboundRequest("IMPORT", "import:", {}, b"")
    arrival = Arrival(configured.name, configured.account, now, request, tuple(batch), priority=Priority.IMPORT)
    receipt = await store.intake.append(arrival)
    done.accepted += receipt.accepted
    done.duplicates += receipt.duplicates


def _rows(file: FilePath) -> Iterator[_Row]:
    match file.suffix.lower():
        case ".jsonl" | ".ndjson":
            with file.open("rb") as stream:
                yield from _json_lines(stream)
        case ".csv":
            yield from _csv_rows(file)
        case suffix:
            raise ServiceError(f"a file that ends in {suffix or 'nothing'}", hint="give a .jsonl or a .csv file")


def _json_lines(stream: BinaryIO) -> Iterator[_Row]:
    number = 0
    while line := stream.readline(LINE_BYTES_MAX + 1):
        number += 1
        if len(line) > LINE_BYTES_MAX:
            while line and not line.endswith(b"\n"):  # what is left of it
                line = stream.readline(LINE_BYTES_MAX)
            yield _Row(number, b"", stream.tell())
        elif line.strip():
            yield _Row(number, line.removeprefix(BOM), stream.tell())


def _csv_rows(file: FilePath) -> Iterator[_Row]:
    csv.field_size_limit(LINE_BYTES_MAX)  # else a long note would end the whole import
    with file.open("rb") as stream, io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text:
        rows = csv.reader(text, strict=True)
        try:
            names = next(rows, [])
            begins = rows.line_num + 1
            for row in rows:
                # A cell that a short row lacks is missing, not blank.
                columns: dict[str, Json] = {name: cell for name, cell in zip(names, row, strict=False) if name}
                if row:
                    yield _Row(begins, columns, stream.tell())
                begins = rows.line_num + 1
        except (csv.Error, UnicodeDecodeError) as error:
            cause = f"not CSV in UTF-8 near line {rows.line_num}: {type(error).__name__}"
            raise ServiceError(cause, hint="export it again as CSV in UTF-8") from None


def _change(record: bytes | Json, places: Places, as_of: datetime, source: Source[Any]) -> Change:
    document = _document(record)
    object_id = source.record_id(identifier(_at(places.object_id, document), f"the id at {places.object_id.text}"))
    updated_at = None
    if places.updated_at is not None:
        updated_at = instant(_at(places.updated_at, document), f"the time at {places.updated_at.text}")
    values = document
    if places.values is not None:
        values = mapping_at(_at(places.values, document), f"what stands at {places.values.text}")
    at = updated_at or as_of
    packed = orjson.dumps([object_id, to_micros(at), values], option=orjson.OPT_SORT_KEYS)
    if len(packed) > EVENT_BYTES_MAX:
        raise ParseError(f"a record larger than {EVENT_BYTES_MAX} bytes")
    return Change(
        dedup_key=f"{IMPORTED}{hashlib.sha256(packed).hexdigest()}",
        object_type=OBJECT_TYPE,
        object_id=object_id,
        action=Action.UPDATED,
        occurred_at=at,
        values=values,
        origin="import",
    )


def _document(record: bytes | Json) -> dict[str, Json]:
    if isinstance(record, bytes):
        if not record:
            raise ParseError(f"a line of more than {LINE_BYTES_MAX} bytes")
        record = read_json(record)
    return mapping_at(record, "the record")


def _at(path: Path, document: dict[str, Json]) -> Json:
    value = path.get(document)
    return None if value is MISSING else value


def _path(text: str) -> Path:
    return Path.parse(text, roots=False)


def _column(name: str) -> Path:
    escaped = name.replace("\\", r"\\").replace('"', r"\"")
    return Path.parse(f'"{escaped}"', roots=False)
