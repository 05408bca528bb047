"""Cases: requests and changes with what is expected of them, and what the configuration makes of them instead.

A case runs through parse and map. It is not proved: a kept request has no credentials. A file is one case:

{"about": TEXT, "source": NAME, "now": ISO 8601, "request": {"method", "url", "headers", "body" or "body_base64"},
"records": {ID: {"values", "updated_at"}}, "expect": {"status", "events", "patches"}}

``change`` may stand for ``request``, with the fields that ``inspect`` shows of an event. ``records`` are what the CRM's
API would give where records are read back. Of ``expect``, what is left out is not looked at; an event is compared in
what the case says of it, a patch as a whole.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Self

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from service.errors import NotFound, RequestError, ServiceError
from service.model import MISSING, Action, Change, InboundRequest, Json, Missing
from service.operations.inspect import (
    CAPTURE_BYTES_MAX,
    NO_RECORDS,
    CaptureError,
    Inspection,
    Records,
    event_line,
    inspect,
    patches_of,
    read_capture,
    source_of,
)
from service.pipeline import ConfiguredSource
from service.readback.base import Reading
from service.store.payloads import as_capture

CASES_MAX: Final = 1_000
"""Files of one run."""
CASE_BYTES_MAX: Final = 2 * CAPTURE_BYTES_MAX
"""Of a file: a request, and what is expected of it."""
FAULTS_MAX: Final = 5
"""Of a file that is no case, how many faults are told."""
USUAL_NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""When a case is that does not say."""

_TOLD: Final = {"extra_forbidden": "no such key is known", "missing": "this key is required"}
_HINT: Final = "`inspect REQUEST.json --save-case FILE` writes one that is"


class CaseError(ServiceError):
    """A file is not a case."""

    name = "not_a_case"


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class _Record(_Form):
    values: dict[str, Any]
    updated_at: AwareDatetime | None = None


class _Change(_Form):
    dedup_key: str = "case"
    object_type: str = "contact"
    object_id: str
    action: Action = Action.UPDATED
    crm_event_id: str | None = None
    occurred_at: AwareDatetime | None = None
    order_key: int | None = None
    changed_fields: tuple[str, ...] | None = None
    values: dict[str, Any] = {}
    previous: dict[str, Any] | None = None
    merged_from: tuple[str, ...] = ()
    merged_into: str | None = None
    origin: str | None = None
    actor: str | None = None
    tenant: str | None = None
    attempt: int | None = None
    thin: bool = False
    ignored: str | None = None


class _Patch(_Form):
    object_id: str
    patch: dict[str, Any] | None
    reason: str | None = None


class _Expect(_Form):
    status: int | None = None
    events: tuple[dict[str, Any], ...] | None = None
    patches: tuple[_Patch, ...] | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.status is None and self.events is None and self.patches is None:
            raise ValueError("at least one of status, events and patches is needed")
        return self


class _Case(_Form):
    about: Annotated[str, Field(max_length=1000)] = ""
    source: str | None = None
    now: AwareDatetime = USUAL_NOW
    request: dict[str, Any] | None = None
    change: _Change | None = None
    records: dict[str, _Record | None] = {}
    expect: _Expect

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.request is None) is (self.change is None):
            raise ValueError("exactly one of request and change is needed")
        return self


@dataclass(frozen=True, slots=True)
class Case:
    """A request or a change of a source, and what is expected of it: ``None`` where nothing is."""

    about: str
    source: str
    now: datetime
    given: InboundRequest | Change
    records: Records
    status: int | None
    events: tuple[Mapping[str, Any], ...] | None
    patches: tuple[Mapping[str, Any], ...] | None


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as expected: where, and both values, MISSING for none."""

    path: str
    expected: Json | Missing
    found: Json | Missing


def read_case(text: bytes, *, sources: Collection[str]) -> Case:
    """Read a case of one of the sources; raise CaseError naming what is wrong with it, and no value of it."""
    if len(text) > CASE_BYTES_MAX:
        raise CaseError(f"larger than {CASE_BYTES_MAX} bytes")
    try:
        document = orjson.loads(text)
        orjson.dumps(document)  # what cannot be written again is too deep to be compared, too
        form = _Case.model_validate(document)
        given = _given(form)
        source = form.source or (source_of(given) if isinstance(given, InboundRequest) else "")
    except orjson.JSONDecodeError as error:
        raise CaseError(f"not JSON: {error.msg} (line {error.lineno})", hint=_HINT) from None
    except orjson.JSONEncodeError:
        raise CaseError("nested too deep", hint=_HINT) from None
    except ValidationError as error:
        raise CaseError("; ".join(_told(error)), hint=_HINT) from None
    except CaptureError as error:
        raise CaseError(f"request: {error.cause}", hint=error.hint) from None
    except NotFound as error:
        raise CaseError(f"request: {error.cause}", hint='say which by "source"') from None
    if source not in sources:
        found = f"the source {source!r}" if source else 'no "source"'
        raise CaseError(f"{found}; the configuration has {', '.join(sorted(sources))}")
    records = {key: None if one is None else Reading(one.values, one.updated_at) for key, one in form.records.items()}
    wanted, expect = form.expect.patches, form.expect
    patches = None if wanted is None else tuple(_expected(patch) for patch in wanted)
    return Case(form.about, source, form.now, given, records, expect.status, expect.events, patches)


def run_case(
    configured: ConfiguredSource,
    case: Case,
    *,
    clear_with: str | None,
    status_of: Callable[[RequestError], int],
) -> tuple[Difference, ...]:
    """Return what the configuration makes otherwise than expected, in the order of the case; none when all is well.

    ``status_of`` says how a refused request is answered.
    """
    found = found_of(configured, case.given, now=case.now, clear_with=clear_with, records=case.records)
    differences: list[Difference] = []
    status = _status(found, status_of)
    if case.status is not None and status != case.status:
        differences.append(Difference("status", case.status, MISSING if status is None else status))
    if case.events is not None:
        events = [_plain(event_line(change)) for change in found.changes]
        differences += _each("events", case.events, events, within=True)
    if case.patches is not None:
        patches = [_by_name(_shown(patch)) for patch in found.patches]
        differences += _each("patches", [_by_name(patch) for patch in case.patches], patches, within=False)
    return tuple(differences)


def make_case(
    configured: ConfiguredSource,
    given: InboundRequest | Change,
    *,
    about: str,
    now: datetime,
    clear_with: str | None,
    status_of: Callable[[RequestError], int],
) -> dict[str, Any]:
    """Return a case that holds now, as JSON can hold it: the request without credentials, and what is made of it."""
    if isinstance(given, InboundRequest):
        given = configured.source.redact(given)
        what: dict[str, Any] = {"request": as_capture(given)}
    else:
        usual = _plain(event_line(Change("case", "contact", given.object_id, Action.UPDATED)))
        line = _plain(event_line(given)) | {"order_key": None}
        what = {"change": {key: value for key, value in line.items() if value != usual[key] or key == "object_id"}}
    found = found_of(configured, given, now=now, clear_with=clear_with)
    expect: dict[str, Any] = {"status": status} if (status := _status(found, status_of)) else {}
    expect["events"] = [_gist(change) for change in found.changes]
    expect["patches"] = [_shown(patch) for patch in found.patches]
    return {"about": about, "source": configured.name, "now": now, **what, "expect": expect}


def found_of(
    configured: ConfiguredSource,
    given: InboundRequest | Change,
    *,
    now: datetime,
    clear_with: str | None,
    prove: bool = False,
    records: Records = NO_RECORDS,
) -> Inspection:
    """Say what the service would make of a request, or of a change by itself, which nobody proves or is answered."""
    if isinstance(given, InboundRequest):
        return inspect(configured, given, now=now, clear_with=clear_with, prove=prove, records=records)
    changes = configured.admission.admit((given,))
    patches = patches_of(configured, changes, now=now, clear_with=clear_with, records=records)
    return Inspection(configured.name, None, None, changes, patches)


def _status(found: Inspection, status_of: Callable[[RequestError], int]) -> int | None:
    """Return what the sender would be answered; None for a change, which nobody sent."""
    if found.refusal is not None:
        return status_of(found.refusal)
    return None if found.reply is None else found.reply.status


def _given(form: _Case) -> InboundRequest | Change:
    if form.change is None:
        return read_capture(orjson.dumps(form.request))
    return Change(**form.change.model_dump(exclude={"order_key"}))


def _told(error: ValidationError) -> Iterator[str]:
    for details in error.errors(include_url=False)[:FAULTS_MAX]:
        place = ".".join(map(str, details["loc"]))
        what = _TOLD.get(details["type"]) or details["msg"].removeprefix("Value error, ")
        yield f"{place}: {what}" if place else what


def _expected(patch: _Patch) -> dict[str, Any]:
    return patch.model_dump(include={"object_id", "patch", *patch.model_fields_set})


def _shown(patch: Mapping[str, Any]) -> dict[str, Any]:
    return {key: patch[key] for key in ("object_id", "patch", "reason") if key in patch}


def _gist(change: Change) -> dict[str, Any]:
    """Return what of an event a case that is saved expects: the rest stands in the request."""
    ignored = {} if change.ignored is None else {"ignored": change.ignored}
    return {"object_id": change.object_id, "action": change.action, **ignored}


def _plain(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return what JSON makes of it, so that it can be compared with what was read."""
    plain: dict[str, Any] = orjson.loads(orjson.dumps(dict(line)))
    return plain


def _by_name(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return a patch with its custom attributes by name, which may be written so, and whose order says nothing."""
    patch = line["patch"]
    custom = patch.get("custom") if isinstance(patch, dict) else None
    if not isinstance(custom, list) or not all(isinstance(pair, dict) and "key" in pair for pair in custom):
        return dict(line)
    return {**line, "patch": {**patch, "custom": {str(pair["key"]): pair.get("value") for pair in custom}}}


def _each(
    name: str, expected: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]], *, within: bool
) -> Iterator[Difference]:
    for index in range(max(len(expected), len(found))):
        path = f"{name}[{index}]"
        if index >= len(found):
            yield Difference(path, dict(expected[index]), MISSING)
        elif index >= len(expected):
            yield Difference(path, MISSING, dict(found[index]) if not within else _brief(found[index]))
        else:
            there = found[index] if within else {"reason": None, **found[index]}
            wanted = expected[index]
            if not within and "reason" not in wanted:
                there = {key: value for key, value in there.items() if key != "reason"}
            yield from _differences(path, dict(wanted), dict(there), within=within)


def _brief(event: Mapping[str, Any]) -> dict[str, Any]:
    return {key: event[key] for key in ("object_id", "action")}


def _differences(path: str, expected: Json | Missing, found: Json | Missing, *, within: bool) -> Iterator[Difference]:
    """Compare two values path by path; ``within`` looks at what is expected alone, else nothing more may be there."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in expected if within else dict.fromkeys((*expected, *found)):
            here, there = expected.get(key, MISSING), found.get(key, MISSING)
            yield from _differences(f"{path}.{key}", here, there, within=within)
    elif not _same(expected, found):
        yield Difference(path, expected, found)


def _same(expected: Json | Missing, found: Json | Missing) -> bool:
    """Say whether JSON writes both alike: true is not 1, and 2 is not 2.0."""
    if expected is MISSING or found is MISSING:
        return expected is found
    return orjson.dumps(expected, option=orjson.OPT_SORT_KEYS) == orjson.dumps(found, option=orjson.OPT_SORT_KEYS)
