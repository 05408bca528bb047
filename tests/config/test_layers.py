"""Preset, source, definitions and field: which of them wins, where each says what it says, and what that costs."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.config import load
from service.config.definitions import ADDED_MAX, USES_MAX
from service.config.layers import layered
from service.config.yaml_file import read_yaml
from service.mapping import Mapping, MappingSpec, Rules
from service.mapping.targets import STANDARD
from service.model import Action, Change, Json
from service.pipeline import ConfiguredSource
from service.sources import PRESETS
from tests.config.test_loading import ENVIRONMENT, read, report

HEAD = """sources:
  pipedrive:
    preset: pipedrive
    auth: {username: crm, password: "${PIPEDRIVE_PASSWORD}"}
"""
GENERIC = """sources:
  helpdesk:
    preset: generic
    verify: {scheme: token, token: "${PIPEDRIVE_PASSWORD}", header: X-Token}
    parse: {object_id: id}
    resolve: [link]
"""
DEFINE = """define:
  mobile: {transform: [{e164: US}], on_error: skip}
  cleared: {on_null: clear, on_blank: clear}
  lead: {from: label, map: {"1": Lead}, default: Other}
"""
PERSON: dict[str, Json] = {
    "first_name": "Amara",
    "last_name": " Okafor ",
    "job_title": "VP Finance",
    "emails": [{"value": "Amara.Okafor@northwind.example", "primary": True}],
    "phones": [{"value": "(415) 555-0132", "primary": True}],
    "label": "1",
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def configured(file: Path, text: str) -> ConfiguredSource:
    file.write_text(text)
    (source,) = read(file).sources.values()
    return source


def rule_of(source: ConfiguredSource, target: str) -> Any:  # noqa: ANN401  # any rule
    mapping = source.rules.document["mapping"]
    assert isinstance(mapping, dict)
    return mapping[target]


def patch(source: ConfiguredSource, **values: Json) -> dict[str, Json]:
    change = Change("1|x", "person", "1", Action.UPDATED, values=PERSON | values)
    mapped = source.rules.mapping.apply(change)
    assert mapped.faults == ()
    return dict(mapped.fields)


def test_a_preset_needs_no_mapping(file: Path) -> None:
    source = configured(file, HEAD)
    assert patch(source) == {
        "first_name": "Amara",
        "last_name": "Okafor",
        "title": "VP Finance",
        "email": "amara.okafor@northwind.example",
        "phone": "(415) 555-0132",
    }
    assert set(source.layers.values()) == {"preset"}
    assert source.layers.keys() == set(source.rules.mapping.targets)


def test_what_says_where_the_value_comes_from_replaces_the_preset_s_rule(file: Path) -> None:
    """The preset's transforms are gone with it: a rule is read as it stands."""
    for rule, title in {
        "label": "1",
        "{from: label}": "1",
        "{const: CFO}": "CFO",
        "{concat: [label, label]}": "11",
    }.items():
        source = configured(file, HEAD + f"    mapping: {{title: {rule}}}\n")
        assert patch(source)["title"] == title
        assert source.layers["title"] == "source"
        assert "transform" not in rule_of(source, "title")


def test_what_does_not_adds_its_keys_to_the_preset_s_rule(file: Path) -> None:
    source = configured(file, HEAD + "    mapping: {phone: {transform: [{e164: US}]}}\n")
    assert rule_of(source, "phone") == {
        "from": "phones[?primary].value",
        "transform": [{"e164": "US"}],
        "on_error": "skip",
    }
    assert patch(source)["phone"] == "+14155550132"
    assert "phone" not in patch(source, phones=[{"value": "n/a", "primary": True}])
    assert source.layers["phone"] == "preset + source"


def test_false_takes_a_field_out_whether_the_preset_has_it_or_not(file: Path) -> None:
    source = configured(file, HEAD + "    mapping: {phone: false, notes: false}\n")
    assert set(source.rules.mapping.targets) == {"first_name", "last_name", "title", "email"}
    assert "phone" not in source.layers


def test_a_source_can_do_without_its_preset_s_mapping(file: Path) -> None:
    source = configured(file, HEAD + "    preset_mapping: false\n    mapping: {title: job_title, phone: false}\n")
    assert patch(source) == {"title": "VP Finance"}


def test_custom_attributes_are_the_source_s_alone(file: Path) -> None:
    source = configured(file, HEAD + '    mapping: {custom: {Tier: label, email: {const: "yes"}}}\n')
    assert patch(source)["custom.Tier"] == "1"
    assert source.layers["custom.Tier"] == source.layers["custom.email"] == "source"
    assert source.layers["email"] == "preset"


def test_a_deletion_says_what_it_says_and_nothing_else(file: Path) -> None:
    text = (
        DEFINE
        + HEAD
        + "    every_field: {on_null: clear}\n    on_deleted: {title: {const: Gone}, notes: {use: lead}}\n"
    )
    source = configured(file, text)
    assert source.rules.document["on_deleted"] == {
        "title": {"const": "Gone"},
        "notes": {"from": "label", "map": {"1": "Lead"}, "default": "Other"},
    }
    assert source.layers["title"] == "preset + every_field"


def test_what_is_said_of_every_field_wins_over_the_preset_and_loses_to_the_field(file: Path) -> None:
    said = "    every_field: {on_null: clear, on_error: fail}\n"
    source = configured(file, HEAD + said + "    mapping: {title: {on_null: skip}, custom: {Tier: label}}\n")
    assert rule_of(source, "phone")["on_error"] == "fail"
    assert patch(source, first_name=None, job_title=None, label=None) == {
        "first_name": None,
        "last_name": "Okafor",
        "email": "amara.okafor@northwind.example",
        "phone": "(415) 555-0132",
        "custom.Tier": None,
    }
    assert source.layers["title"] == "preset + every_field + source"
    assert source.layers["custom.Tier"] == "every_field + source"


@pytest.mark.parametrize(
    ("rule", "asked"),
    [
        ("label", True),
        ("{from: [$event.origin, label]}", True),
        ("{concat: [{const: x}, label]}", True),
        ("{const: CFO}", False),
        ("$event.origin", False),
        ("{concat: [{const: x}, $event.origin]}", False),
    ],
)
def test_only_if_changed_for_every_field_is_asked_of_those_that_the_record_feeds(
    file: Path, rule: str, *, asked: bool
) -> None:
    source = configured(file, HEAD + f"    every_field: {{only_if_changed: true}}\n    mapping: {{title: {rule}}}\n")
    assert ("only_if_changed" in rule_of(source, "title")) is asked
    assert rule_of(source, "email")["only_if_changed"] is True


def test_later_definitions_win_over_earlier_ones_and_the_rule_over_all(file: Path) -> None:
    define = "define:\n  a: {from: a, on_null: clear, on_blank: clear}\n  b: {const: b, on_blank: skip}\n"
    for rule, made in {
        "{use: a}": {"from": "a", "on_null": "clear", "on_blank": "clear"},
        "{use: [a, b]}": {"const": "b", "on_null": "clear", "on_blank": "skip"},
        "{use: [b, a]}": {"from": "a", "on_null": "clear", "on_blank": "clear"},
        "{use: [a], from: c, on_null: skip}": {"from": "c", "on_null": "skip", "on_blank": "clear"},
    }.items():
        assert rule_of(configured(file, define + HEAD + f"    mapping: {{title: {rule}}}\n"), "title") == made


def test_a_definition_with_a_path_replaces_the_preset_s_rule_and_one_without_adds_to_it(file: Path) -> None:
    source = configured(file, DEFINE + HEAD + "    mapping: {title: {use: lead}, phone: {use: [mobile, cleared]}}\n")
    assert rule_of(source, "title") == {"from": "label", "map": {"1": "Lead"}, "default": "Other"}
    assert rule_of(source, "phone")["from"] == "phones[?primary].value"
    assert source.layers["title"] == "define lead"
    assert source.layers["phone"] == "preset + define cleared + define mobile"


def test_a_separator_goes_with_the_parts_that_it_stands_between(file: Path) -> None:
    define = 'define:\n  name: {concat: [first_name, last_name], separator: " ", on_null: clear}\n'
    source = configured(file, define + HEAD + "    mapping: {title: {use: name, from: job_title}}\n")
    assert rule_of(source, "title") == {"from": "job_title", "on_null": "clear"}


def test_a_source_without_a_usual_mapping_uses_definitions_too(file: Path) -> None:
    source = configured(file, DEFINE + GENERIC + "    mapping: {title: {use: lead}, phone: false}\n")
    assert source.rules.mapping.targets == ("title",)


def test_anchors_go_on_working(file: Path) -> None:
    text = HEAD + "    mapping: &standard\n      custom: {Tier: &tier {from: label, on_null: clear}, Same: *tier}\n"
    text += HEAD.replace("sources:\n", "").replace("  pipedrive:", "  emea:") + "    mapping: *standard\n"
    file.write_text(text)
    one, other = read(file).sources.values()
    assert one.rules.document == other.rules.document
    assert rule_of(one, "custom")["Same"] == {"from": "label", "on_null": "clear"}


def test_what_is_kept_for_replays_needs_neither_the_file_nor_the_preset(file: Path) -> None:
    text = (
        DEFINE
        + HEAD
        + "    every_field: {on_blank: clear}\n    mapping: {phone: {use: mobile}, custom: {Tier: {use: lead}}}\n"
    )
    source = configured(file, text)
    kept = Rules.parse(json.loads(json.dumps(source.rules.document)))
    change = Change("1|x", "person", "1", Action.UPDATED, values={**PERSON, "job_title": ""})
    assert kept.mapping.apply(change).fields == source.rules.mapping.apply(change).fields
    assert "use" not in json.dumps(source.rules.document)


def test_a_fault_of_a_definition_is_told_once_and_where_it_stands(file: Path) -> None:
    uses = "".join(f"        Tier {number}: {{from: label, use: tidy}}\n" for number in range(3))
    file.write_text(f"define:\n  tidy: {{transform: [trimm]}}\n{HEAD}    mapping:\n      custom:\n{uses}")
    (fault,) = report(file)
    assert fault.startswith("config.yaml:2:22: define.tidy.transform[0]: found 'trimm'")


@pytest.mark.parametrize("uses", ["{from: label}", "{from: label, use: both}"])
def test_a_definition_that_uses_another_is_refused_once_whether_it_is_used_or_not(uses: str, file: Path) -> None:
    define = "define:\n  tidy: {transform: [trim]}\n  both: {use: tidy}\n"
    file.write_text(f"{define}{HEAD}    mapping: {{custom: {{Tier: {uses}}}}}\n")
    (fault,) = report(file)
    assert fault.startswith("config.yaml:3:10: define.both.use: found the key 'use'; allowed: from, const, concat")


def test_a_fault_of_a_path_stands_where_the_path_does_whatever_lies_below(file: Path) -> None:
    file.write_text(HEAD + '    every_field: {on_null: clear}\n    mapping: {title: "job["}\n')
    (fault,) = report(file)
    assert fault.startswith("config.yaml:6:22: sources.pipedrive.mapping.title: found the end")


def test_a_key_that_no_rule_has_is_refused_with_all_that_there_are(file: Path) -> None:
    file.write_text(DEFINE + HEAD + "    mapping: {title: {form: job_title, transform: [trimm]}}\n")
    key, transform = report(file)
    assert key.startswith(
        "config.yaml:9:23: sources.pipedrive.mapping.title.form: found the key 'form'; allowed: from, "
    )
    assert key.endswith("only_if_changed, use; did you mean 'from'?")
    assert "sources.pipedrive.mapping.title.transform[0]" in transform


def test_what_a_mistyped_preset_may_have_below_is_not_asked_for(file: Path) -> None:
    file.write_text(
        HEAD.replace("preset: pipedrive", "preset: pipedriv") + "    mapping: {phone: {transform: [trimm]}}\n"
    )
    preset, transform = report(file)
    assert "sources.pipedrive.preset: found text 'pipedriv'" in preset
    assert "sources.pipedrive.mapping.phone.transform[0]: found 'trimm'" in transform


def test_a_warning_about_a_part_stands_where_the_part_does(file: Path) -> None:
    define = "define:\n  tidy: {transform: [trim, trim]}\n"
    file.write_text(define + HEAD + "    mapping: {title: {use: tidy}, custom: {Tier: {from: label, use: tidy}}}\n")
    (warning,) = read(file).warnings
    assert (warning.where.rpartition("config.yaml:")[2], warning.path) == ("2:22", "define.tidy.transform[0]")


def test_what_is_wrong_with_other_sources_does_not_matter_where_one_is_asked_for(file: Path) -> None:
    other = HEAD.replace("sources:\n", "").replace("  pipedrive:", "  emea:")
    file.write_text(HEAD + other + "    mapping: {title: {use: nothing}}\n")
    assert len(report(file)) == 1
    (fault,) = report(file, only=("emea",))
    assert "sources.emea.mapping.title.use" in fault
    loaded = load(ENVIRONMENT, config_file=file, env_file=Path("no.env"), only=("pipedrive",))
    assert loaded.sources.keys() == {"pipedrive"}


def test_what_definitions_add_is_bounded(file: Path) -> None:
    """A few lines must not become gigabytes: a table of a thousand entries, used by hundreds of attributes."""
    table = json.dumps({str(number): "x" for number in range(1000)})
    uses = "".join(f"        a{number}: {{use: table}}\n" for number in range(ADDED_MAX // 1000 + 1))
    file.write_text(f"define:\n  table: {{from: label, map: {table}}}\n{HEAD}    mapping:\n      custom:\n{uses}")
    assert any("found definitions that make the file too large" in fault for fault in report(file))


def test_a_rule_uses_a_few_definitions_at_most(file: Path) -> None:
    file.write_text(DEFINE + HEAD + f"    mapping: {{title: {{use: [{', '.join(['cleared'] * (USES_MAX + 1))}]}}}}\n")
    (fault,) = report(file)
    assert f"found {USES_MAX + 1} names; allowed: 1 to {USES_MAX} names" in fault


_keys = st.fixed_dictionaries(
    {},
    optional={
        "on_null": st.sampled_from(["skip", "clear"]),
        "on_blank": st.sampled_from(["skip", "clear"]),
        "on_error": st.sampled_from(["skip", "fail"]),
        "transform": st.lists(st.sampled_from(["trim", "lower", "upper"]), max_size=2),
    },
)
_origin = st.sampled_from([{}, {"from": "label"}, {"const": "x"}, {"concat": ["label", "name"], "separator": " "}])
_part = st.builds(lambda keys, origin: {**keys, **origin}, _keys, _origin)


@settings(deadline=None)
@given(
    define=st.fixed_dictionaries({"a": _part, "b": _part}),
    every=st.fixed_dictionaries({}, optional={"on_null": st.sampled_from(["skip", "clear"])}),
    rules=st.dictionaries(
        st.sampled_from(sorted(STANDARD)),
        st.just(value=False)
        | st.builds(
            lambda part, use: {**part, **({"use": use} if use else {})}, _part, st.sampled_from([None, "a", ["b", "a"]])
        ),
    ),
)
def test_each_key_of_a_whole_rule_is_that_of_the_highest_layer_that_has_it(
    define: dict[str, Any], every: dict[str, Any], rules: dict[str, Any]
) -> None:
    entry = {"preset": "pipedrive", "every_field": every, "mapping": rules}
    text = json.dumps({"define": define, "sources": {"crm": entry}})
    made = layered(
        read_yaml(text, name="config.yaml", variable=lambda _: ""), {"pipedrive": PRESETS["pipedrive"].usual_mapping}
    )
    assert isinstance(made.document.value, dict)
    whole: Any = made.document.value["sources"]
    for target, rule in whole["crm"]["mapping"].items():
        own = rules.get(target, {})
        uses = own.get("use", [])
        names = [uses] if isinstance(uses, str) else uses
        layers = [PRESETS["pipedrive"].usual_mapping.get(target, {}), every, *(define[name] for name in names), own]
        for key in ("on_null", "on_blank", "on_error"):
            said = [layer[key] for layer in layers if key in layer]
            replaced = len(said) == 1 and said == [layers[0].get(key)] and key not in rule
            assert rule.get(key) == (said or [None])[-1] or replaced
        assert sum(key in rule for key in ("from", "const", "concat")) == 1
        Mapping(MappingSpec.model_validate({target: {**rule, "transform": []}}))


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.sampled_from(["a", "pipedrive", "label", "x["]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "sources",
                        "define",
                        "crm",
                        "preset",
                        "mapping",
                        "every_field",
                        "custom",
                        "title",
                        "use",
                        "from",
                        "a",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=30,
    )
)
def test_any_document_is_laid_out_without_an_exception(value: Json) -> None:
    document = read_yaml(json.dumps(value), name="config.yaml", variable=lambda _: "")
    layered(document, {"pipedrive": PRESETS["pipedrive"].usual_mapping})
