"""Cases: what a configuration makes of a request or a change, held against what is expected, path by path."""

import base64
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from service.config import Config, load
from service.errors import RequestError
from service.model import MISSING, Action, Change, InboundRequest
from service.operations.cases import CASE_BYTES_MAX, Case, CaseError, Difference, make_case, read_case, run_case
from service.sources import PRESETS
from service.web.problems import status_of
from tests.support.crm import NOW, fixture, fixtures

EXAMPLES: Final = Path(__file__).parent.parent.parent / "deploy" / "examples" / "cases"
VENDORS: Final = sorted({*PRESETS} - {"generic"})
BODY: Final = {"id": "evt-1", "at": "2026-03-02T09:29:58Z", "contact": {"id": 301, "name": "Amara Okafor", "vip": True}}
REQUEST: Final = {"url": "https://hooks.northwind.example/webhooks/helpdesk", "body": json.dumps(BODY)}
PATCH: Final = {"first_name": "Amara", "last_name": "Okafor"}


@pytest.fixture(scope="module")
def config() -> Config:
    """The configuration of the example cases: a source of each preset."""
    secrets = dict(line.split("=", 1) for line in (EXAMPLES / "ci.env").read_text().split())
    environ = {**secrets, "SECRETS_DIR": "none"}
    return load(environ, config_file=EXAMPLES / "config.yaml", env_file=Path("no.env"), need_api_key=False)


def case_of(**parts: Any) -> bytes:  # noqa: ANN401  # whatever stands in a file
    """A case of the helpdesk as its file has it; a part that is None is left out."""
    case = {"source": "helpdesk", "request": REQUEST, "expect": {"status": 200}, **parts}
    return orjson.dumps({key: part for key, part in case.items() if part is not None})


def run(config: Config, text: bytes) -> list[str]:
    """What differs in a case, a line each."""
    case = read_case(text, sources=config.sources)
    return [_line(one) for one in differences(config, case)]


def differences(config: Config, case: Case) -> tuple[Difference, ...]:
    return run_case(config.sources[case.source], case, clear_with=None, status_of=status_of)


def _line(one: Difference) -> str:
    expected, found = ("nothing" if it is MISSING else json.dumps(it) for it in (one.expected, one.found))
    return f"{one.path}: {expected} -> {found}"


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.json")))
def test_each_example_holds(config: Config, name: str) -> None:
    assert run(config, (EXAMPLES / name).read_bytes()) == []


def test_the_case_that_the_readme_shows_holds(config: Config) -> None:
    shown = re.findall(r"```json\n(\{.*?)```", (EXAMPLES.parent.parent.parent / "README.md").read_text(), re.DOTALL)
    (case,) = [text for text in shown if '"expect"' in text]
    assert run(config, case.encode()) == []


def test_each_preset_has_an_example(config: Config) -> None:
    tried = {read_case(path.read_bytes(), sources=config.sources).source for path in EXAMPLES.glob("*.json")}
    assert {config.sources[name].source.preset for name in tried} == {*PRESETS}
    assert config.warnings == ()


@pytest.mark.parametrize(("crm", "name"), [(crm, name) for crm in VENDORS for name in fixtures(crm)])
def test_a_case_that_is_saved_holds(config: Config, crm: str, name: str) -> None:
    """Whatever a CRM sends, accepted or refused: the request without its credentials, and each change by itself."""
    request, _ = fixture(crm, name)
    saved = make_case(config.sources[crm], request, about=name, now=NOW, clear_with=None, status_of=status_of)
    assert run(config, _written(saved)) == []
    for change in _changes(config, crm, request):
        one = make_case(config.sources[crm], change, about=name, now=NOW, clear_with=None, status_of=status_of)
        assert "status" not in one["expect"]
        case = read_case(_written(one), sources=config.sources)
        assert case.given == change
        assert differences(config, case) == ()


def _written(case: Mapping[str, Any]) -> bytes:
    return orjson.dumps(case, option=orjson.OPT_UTC_Z)


def _changes(config: Config, crm: str, request: InboundRequest) -> tuple[Change, ...]:
    source = config.sources[crm].source
    try:
        return source.parse(source.redact(request))
    except RequestError:  # which its own case expects
        return ()


def test_a_saved_case_holds_no_credential(config: Config) -> None:
    request, _ = fixture("pipedrive", "person_changed")
    proved = InboundRequest(request.method, request.url, {**request.headers, "authorization": "Basic Y3JtOng="}, b"{}")
    saved = make_case(config.sources["pipedrive"], proved, about="", now=NOW, clear_with=None, status_of=status_of)
    assert "authorization" not in saved["request"]["headers"]
    assert saved["expect"] == {"status": 400, "events": [], "patches": []}
    assert run(config, _written(saved)) == []


def test_a_patch_is_compared_as_a_whole_and_path_by_path(config: Config) -> None:
    other = {"object_id": "301", "patch": {"first_name": "Amara", "title": "VP"}}
    assert run(config, case_of(expect={"patches": [other]})) == [
        'patches[0].patch.title: "VP" -> nothing',
        'patches[0].patch.last_name: nothing -> "Okafor"',
    ]
    assert run(config, case_of(expect={"patches": [{"object_id": "301", "patch": None}]})) == [
        f"patches[0].patch: null -> {json.dumps(PATCH)}"
    ]
    assert run(config, case_of(expect={"patches": [{"object_id": "301", "patch": PATCH}]})) == []


def test_custom_attributes_may_be_written_by_name_or_as_they_are_sent(config: Config) -> None:
    change = {"object_id": "4711", "values": {"label_ids": [2]}}
    for custom in ({"Lifecycle": "Lead"}, [{"key": "Lifecycle", "value": "Lead"}]):
        expect = {"patches": [{"object_id": "4711", "patch": {"custom": custom}}]}
        assert run(config, case_of(source="pipedrive", request=None, change=change, expect=expect)) == []
    expect = {"patches": [{"object_id": "4711", "patch": {"custom": {"Lifecycle": "Customer", "Tier": 1}}}]}
    assert run(config, case_of(source="pipedrive", request=None, change=change, expect=expect)) == [
        'patches[0].patch.custom.Lifecycle: "Customer" -> "Lead"',
        "patches[0].patch.custom.Tier: 1 -> nothing",
    ]


def test_an_event_is_compared_in_what_the_case_says_of_it(config: Config) -> None:
    event: dict[str, Any] = {"object_id": "301", "action": "updated", "values": {"name": "Amara Okafor"}}
    assert run(config, case_of(expect={"events": [event]})) == []
    event = {"actor": "7", "tenant": None, "values": {"vip": 1, "age": 40}, "changed_fields": ["name"]}
    assert run(config, case_of(expect={"events": [event]})) == [
        'events[0].actor: "7" -> null',
        "events[0].values.vip: 1 -> true",
        "events[0].values.age: 40 -> nothing",
        'events[0].changed_fields: ["name"] -> null',
    ]


def test_more_or_fewer_than_expected_are_told(config: Config) -> None:
    lines = run(config, case_of(expect={"events": [], "patches": []}))
    assert lines == [
        'events[0]: nothing -> {"object_id": "301", "action": "updated"}',
        f'patches[0]: nothing -> {{"object_id": "301", "patch": {json.dumps(PATCH)}}}',
    ]
    twice = [{"object_id": "301"}, {"object_id": "302"}]
    assert run(config, case_of(expect={"events": twice})) == ['events[1]: {"object_id": "302"} -> nothing']


def test_why_nothing_is_sent_is_compared_where_the_case_says_it(config: Config) -> None:
    nobody = {**REQUEST, "body": json.dumps(BODY | {"contact": {"id": 301}})}
    patch = {"object_id": "301", "patch": None}
    assert run(config, case_of(request=nobody, expect={"patches": [patch]})) == []
    assert run(config, case_of(request=nobody, expect={"patches": [patch | {"reason": "no mapped field in it"}]})) == []
    assert run(config, case_of(request=nobody, expect={"patches": [patch | {"reason": "gone"}]})) == [
        'patches[0].reason: "gone" -> "no mapped field in it"'
    ]
    sent = {"object_id": "301", "patch": PATCH, "reason": "gone"}
    assert run(config, case_of(expect={"patches": [sent]})) == ['patches[0].reason: "gone" -> null']


def test_a_refused_request_is_a_case_too(config: Config) -> None:
    broken = {**REQUEST, "body": "{"}
    assert run(config, case_of(request=broken, expect={"status": 400, "events": []})) == []
    assert run(config, case_of(request=broken, expect={"status": 200})) == ["status: 200 -> 400"]


def test_nobody_is_answered_about_a_change(config: Config) -> None:
    change = {"object_id": "301", "values": {"name": "Amara"}}
    assert run(config, case_of(request=None, change=change)) == ["status: 200 -> nothing"]


def test_a_body_may_be_bytes(config: Config) -> None:
    raw = {"url": REQUEST["url"], "body_base64": base64.b64encode(str(REQUEST["body"]).encode()).decode()}
    assert run(config, case_of(request=raw, source=None)) == []


CLEARING: Final = """
sources:
  helpdesk:
    preset: generic
    auth: {none: I accept unauthenticated webhooks}
    parse: {object_id: contact.id, values: contact}
    resolve: [link]
    mapping: {title: {from: title, on_null: clear}}
"""


def test_a_cleared_field_is_sent_as_the_settings_say(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(CLEARING)
    config = load({"SECRETS_DIR": "none"}, config_file=file, env_file=Path("no.env"), need_api_key=False)
    change = {"object_id": "301", "values": {"title": None}}
    case = read_case(case_of(request=None, change=change, expect={"patches": []}), sources=config.sources)
    for clear_with in (None, ""):
        (one,) = run_case(config.sources["helpdesk"], case, clear_with=clear_with, status_of=status_of)
        assert one.found == {"object_id": "301", "patch": {"title": clear_with}}


THIN: Final = {"object_id": "58231190411", "values": {"jobtitle": "CFO"}, "changed_fields": ["email"], "thin": True}


@pytest.mark.parametrize(
    ("records", "patch"),
    [
        ({}, {"title": "CFO"}),
        (
            {"58231190411": {"values": {"jobtitle": "CFO", "email": "A@b.example"}}},
            {"title": "CFO", "email": "a@b.example"},
        ),
        ({"58231190411": None}, None),
        ({"1": {"values": {"jobtitle": "CEO"}, "updated_at": "2026-03-02T09:29:58Z"}}, {"title": "CFO"}),
    ],
)  # fmt: skip
def test_a_record_that_is_read_back_is_given_by_the_case(
    config: Config, records: dict[str, Any], patch: dict[str, Any] | None
) -> None:
    expect = {"patches": [{"object_id": "58231190411", "patch": patch}]}
    assert run(config, case_of(source="hubspot", request=None, change=THIN, records=records, expect=expect)) == []


def test_a_record_is_not_read_where_the_source_reads_none_back(config: Config) -> None:
    change = {"object_id": "301", "values": {}, "thin": True}
    records = {"301": {"values": {"name": "Amara Okafor"}}}
    expect = {"patches": [{"object_id": "301", "patch": None}]}
    assert run(config, case_of(request=None, change=change, records=records, expect=expect)) == []


def test_a_change_is_of_its_own_time_or_of_the_case_s(config: Config) -> None:
    change = {"object_id": "301", "occurred_at": "2026-03-02T10:29:58+01:00", "values": {}}
    case = read_case(case_of(request=None, change=change, now="2026-03-03T00:00:00Z"), sources=config.sources)
    assert isinstance(case.given, Change)
    assert (case.given.occurred_at, case.now) == (
        datetime(2026, 3, 2, 9, 29, 58, tzinfo=UTC),
        datetime(2026, 3, 3, tzinfo=UTC),
    )
    assert (case.given.action, case.given.object_type) == (Action.UPDATED, "contact")


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (b"{", "not JSON: "),
        (b"[]", "Input should be"),
        (b" " * (CASE_BYTES_MAX + 1), "larger than"),
        (case_of(request=None), "exactly one of request and change is needed"),
        (case_of(change={"object_id": "1"}), "exactly one of request and change is needed"),
        (case_of(expect=None), "expect: this key is required"),
        (case_of(expect={"status": None}), "expect: at least one of status, events and patches is needed"),
        (case_of(expect={}), "expect: at least one of status, events and patches is needed"),
        (case_of(expect={"patch": {}}), "expect.patch: no such key is known"),
        (case_of(expect={"patches": [{"patch": {}}]}), "expect.patches.0.object_id: this key is required"),
        (case_of(expects={}), "expects: no such key is known"),
        (case_of(request={"url": "https://x.example/webhooks/helpdesk", "body": {}}), "request: body is not a text"),
        (case_of(request={"body": "{}"}), "request: method or url is missing"),
        (case_of(request={"url": "https://x.example/in"}, source=None), "request: the url is not"),
        (case_of(source="helpdsk"), "the source 'helpdsk'; the configuration has attio, close"),
        (case_of(source=None, request=None, change={"object_id": "1"}), 'no "source"; the configuration has'),
        (case_of(request=None, change={"object_id": "1", "action": "changed"}), "change.action: Input should be"),
        (case_of(now="2026-03-02T09:30:00"), "now: Input should have timezone info"),
        (b'{"expect":{"events":[' + b'{"values":' * 300 + b"1" + b"}" * 300 + b"]}}", "nested too deep"),
        (case_of(records={"1": {"updated_at": None}}), "records.1.values: this key is required"),
    ],
)  # fmt: skip
def test_what_is_no_case_is_said_so_without_a_value(config: Config, text: bytes, cause: str) -> None:
    with pytest.raises(CaseError) as caught:
        read_case(text, sources=config.sources)
    assert cause in caught.value.cause
    assert "Amara" not in caught.value.cause


def test_no_more_than_a_few_faults_of_a_file_are_told(config: Config) -> None:
    with pytest.raises(CaseError) as caught:
        read_case(case_of(**{f"x{number}": 1 for number in range(9)}), sources=config.sources)
    assert caught.value.cause.count(";") == 4
