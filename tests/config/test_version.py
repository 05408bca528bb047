"""The version of a configuration: the same for the same rules however they are written, another for others."""

from pathlib import Path

import pytest

from service.config import load
from service.config.layers import layered
from service.config.yaml_file import read_yaml
from service.sources import PRESETS
from tests.config.test_layers import DEFINE, HEAD
from tests.config.test_loading import ENVIRONMENT, read

LONG = """    preset_mapping: false
    mapping:
      first_name: {from: [first_name], transform: [{trim: }], on_error: fail}
      last_name: {transform: [trim], from: last_name, on_null: skip}
      email: {from: "emails[?primary].value", transform: [trim, lower], only_if_changed: false}
      phone: {from: "phones[?primary].value", transform: [{e164: US}], on_error: skip}
      title: {from: job_title, transform: [trim]}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def version(file: Path, text: str, **environ: str) -> str:
    file.write_text(text)
    return read(file, **environ).version


def test_equal_rules_are_one_version_however_they_were_written(file: Path) -> None:
    short = HEAD + "    mapping: {phone: {transform: [{e164: US}]}}\n"
    used = DEFINE + HEAD + "    # the same\n    mapping: {phone: {use: mobile}}\n"
    assert len({version(file, text) for text in (short, used, HEAD + LONG, short + "    every_field: {}\n")}) == 1


@pytest.mark.parametrize("other", ["5", "{mapping: 5}", "{mapping: {title: 5, custom: {Tier: 5}}, on_deleted: {}}"])
def test_a_version_can_be_named_whatever_another_source_is(file: Path, other: str) -> None:
    """One captured request is looked into beside sources that are not right."""
    file.write_text(HEAD + f"  other: {other}\n")
    assert load(ENVIRONMENT, config_file=file, env_file=Path("no.env"), only=("pipedrive",)).version


def test_the_version_follows_what_is_in_force(file: Path) -> None:
    used = DEFINE + HEAD + "    mapping: {phone: {use: mobile}}\n"
    before = version(file, used)
    assert version(file, used.replace("cleared: {on_null: clear", "cleared: {on_null: skip")) == before, "not used"
    assert version(file, used, PIPEDRIVE_PASSWORD="another") == before
    others = [
        used.replace("{e164: US}", "{e164: GB}"),
        used + "    every_field: {on_null: clear}\n",
        used + "    on_deleted: {title: {const: Gone}}\n",
        used + "    preset_mapping: false\n",
        used.replace("    mapping: {", "    mapping: {title: false, "),
        used.replace("    mapping: {", "    mapping: {custom: {title: title}, "),
    ]
    others[3] = others[3].replace("{use: mobile}", "{from: phone, use: mobile}")
    assert len({before, *(version(file, text) for text in others)}) == len(others) + 1


@pytest.mark.parametrize(
    "rules",
    [
        '    mapping: {title: {const: "${PIPEDRIVE_PASSWORD}"}}\n',
        '    mapping: {}\n    when: {field: label, equals: "${PIPEDRIVE_PASSWORD}"}\n',
        '    mapping: {}\n    on_deleted: {title: {const: "${PIPEDRIVE_PASSWORD}"}}\n',
    ],
)
def test_the_version_follows_what_a_variable_says_in_a_rule(rules: str, file: Path) -> None:
    """The rules of a version are kept, so that changes can be mapped by them again: others need another name."""
    assert version(file, HEAD + rules) != version(file, HEAD + rules, PIPEDRIVE_PASSWORD="another")


def test_another_usual_mapping_of_a_preset_is_another_version() -> None:
    document = read_yaml(HEAD, name="config.yaml", variable=lambda _: "x")
    one, other = (
        layered(document, {"pipedrive": usual}).document.value
        for usual in (PRESETS["pipedrive"].usual_mapping, {"title": "title"})
    )
    assert one != other
