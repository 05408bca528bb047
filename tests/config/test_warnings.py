"""What is right and yet worth a second look: told with its place, and only where it saves somebody something."""

import re
from pathlib import Path

import pytest

from service.config import Config, load
from service.config.warnings import NAMES, never_seen
from service.operations.demo.stage import CONFIGURATION

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
ENVIRONMENT = {
    "CHARTMOGUL_API_KEY": "0f4c1d2e",
    "CHARTMOGUL_ACCOUNTS__EU__API_KEY": "9a8b7c",
    "PIPEDRIVE_PASSWORD": "correct-horse",
    "HUBSPOT_CLIENT_SECRET": "battery-staple",
    "HELPDESK_SECRET": "staple-battery",
    "PUBLIC_URL": "https://hooks.northwind.example",
    "SECRETS_DIR": "none",
}
PIPEDRIVE = """\
sources:
  pipedrive:
    preset: pipedrive
    auth: {username: crm, password: "${PIPEDRIVE_PASSWORD}"}
    mapping:
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def told(file: Path, text: str) -> list[str]:
    """The warnings of a configuration: name, line and column, path."""
    return [f"{one.name} {one.where.partition(':')[2]} {one.path}" for one in loaded(file, text).warnings]


def loaded(file: Path, text: str) -> Config:
    file.write_text(text)
    return load(ENVIRONMENT, config_file=file, env_file=Path("no.env"))


def of_rules(file: Path, *lines: str) -> list[str]:
    """The warnings of a mapping's lines: name and path below the mapping."""
    text = PIPEDRIVE + "".join(f"      {line}\n" for line in lines)
    return [f"{one.name} {one.path.removeprefix('sources.pipedrive.mapping.')}" for one in loaded(file, text).warnings]


@pytest.mark.parametrize(
    ("rule", "warned"),
    [
        ('"emails[?primary].value"', True),
        ('{from: "emails[?primary].value", transform: [trim]}', True),
        ('{concat: [user, domain], separator: "@"}', True),
        ('{from: "emails[?primary].value", transform: [lower]}', False),
        ('{from: "emails[?primary].value", transform: [trim, lower]}', False),
        ("{const: billing@northwind.example}", False),
        ("{from: team, map: {Sales: sales@northwind.example}, on_error: skip}", False),
    ],
)
def test_an_email_as_the_crm_wrote_it(file: Path, rule: str, *, warned: bool) -> None:
    assert of_rules(file, f"email: {rule}") == (["email_not_lower email"] if warned else [])


@pytest.mark.parametrize(
    ("rule", "places"),
    [
        ("last_seen: {const: yesterday}", ["last_seen.const"]),
        ("last_seen: {const: 2026-03-02}", []),
        ("last_seen: {const: 1772443800, transform: [to_datetime]}", []),
        ("last_seen: {from: seen, default: never}", ["last_seen.default"]),
        ("last_seen: {from: seen, default: null}", []),
        ("custom: {Tier: {from: tier, map: {a: %s, b: B}, default: ''}}" % ("A" * 256), ["custom.Tier.map.a"]),
        ("title: {const: 5}", []),
    ],
)
def test_values_of_the_file_that_the_field_does_not_take(file: Path, rule: str, places: list[str]) -> None:
    """Every change of the source would become a dead letter."""
    assert of_rules(file, rule) == [f"value_not_taken {place}" for place in places]


def test_a_value_that_is_not_taken_is_not_shown(file: Path) -> None:
    text = PIPEDRIVE + "      position: {const: first}\n"
    (said,) = [str(one) for one in loaded(file, text).warnings if one.name == "value_not_taken"]
    assert said.partition(" ")[2] == (
        "sources.pipedrive.mapping.position.const: position does not take this value, which ends as an error: "
        "found text, not a whole number; use to_int; write one that it takes (value_not_taken)"
    )


def test_fields_that_others_rely_on(file: Path) -> None:
    assert of_rules(file, "position: rank", "external_id: id", "custom: {CRM id: id}") == [
        "position_mapped position",
        "external_id_mapped external_id",
    ]


def test_a_path_that_an_earlier_one_is_the_same_as(file: Path) -> None:
    assert of_rules(file, "title: {from: [job_title, title, job_title]}") == ["path_twice title.from[2]"]


@pytest.mark.parametrize(
    ("transforms", "index"),
    [
        ("trim, trim", 0),
        ("trim, lower, upper", 1),
        ("title, title", 0),
        ("{e164: US}, {e164: US}", 0),
        ("{e164: US}, {e164: GB}", None),
        ("split_rest, split_rest", None),
        ("{replace: {from: aa, to: a}}, {replace: {from: aa, to: a}}", None),
        ("lower, trim, title", None),
    ],
)  # fmt: skip
def test_a_transform_that_the_next_one_undoes(file: Path, transforms: str, index: int | None) -> None:
    expected = [] if index is None else [f"transform_without_effect title.transform[{index}]"]
    assert of_rules(file, f"title: {{from: title, transform: [{transforms}]}}") == expected


@pytest.mark.parametrize(
    ("rest", "warned"),
    [("", True), (", default: Other", False), (", on_error: skip", False), (", on_error: fail", False)],
)
def test_a_table_whose_gaps_stop_the_whole_change(file: Path, rest: str, *, warned: bool) -> None:
    found = of_rules(file, f'custom: {{Lifecycle: {{from: label, map: {{"1": Lead}}{rest}}}}}')
    assert found == (["table_without_default custom.Lifecycle.map"] if warned else [])


@pytest.mark.parametrize(
    ("transform", "entries"),
    [
        ("lower", ["Lead", "VIP"]),
        ("upper", ["Lead", "customer", " other "]),
        ("trim", [" other "]),
        ("{truncate: 3}", []),
    ],
)
def test_an_entry_that_no_value_can_have(file: Path, transform: str, entries: list[str]) -> None:
    table = '{Lead: 1, VIP: 2, customer: 3, " other ": 4}'
    found = of_rules(
        file, f"custom: {{Tier: {{from: tier, transform: [trim, {transform}], map: {table}, default: 0}}}}"
    )
    assert [line.partition(".map.")[2].strip('"') for line in found if line.startswith("entry")] == entries


def test_sources_that_set_one_field_of_the_same_people_to_different_values(file: Path) -> None:
    other = """\
  {name}:
    preset: pipedrive
    account: {account}
    auth: {{username: crm, password: "${{PIPEDRIVE_PASSWORD}}"}}
    mapping: {{custom: {{CRM: {{const: {value}}}, Region: {{const: EMEA}}}}}}
"""
    text = "sources:\n" + "".join(
        other.format(name=name, account=account, value=value)
        for name, account, value in [
            ("emea", "default", "Pipedrive"),
            ("apac", "default", "Pipedrive APAC"),
            ("again", "default", "Pipedrive"),
            ("elsewhere", "eu", "Pipedrive EU"),
        ]
    )
    (line,) = told(file, text)
    assert line.startswith("constants_differ 11:")
    assert line.endswith(" sources.apac.mapping.custom.CRM")


def test_what_a_deletion_sends_is_looked_at_for_itself(file: Path) -> None:
    """The same field says another thing of a deletion, and that is what it is for."""
    text = PIPEDRIVE + "      custom: {Status: {const: Active}}\n    on_deleted: {custom: {Status: {const: Deleted}}}\n"
    assert told(file, text) == []
    text = PIPEDRIVE + "      title: job_title\n    on_deleted: {position: rank}\n"
    assert told(file, text) == ["position_mapped 7:18 sources.pipedrive.on_deleted.position"]


SECRETS = """\
sources:
  pipedrive-emea:
    preset: pipedrive
    auth: {username: crm, password: ["${PIPEDRIVE_PASSWORD}", correct-horse]}
    mapping: {title: job_title}
  hubspot:
    preset: hubspot
    auth: {secret: battery-staple}
    read_back: {token: pat-battery-staple}
    mapping: {title: jobtitle}
  helpdesk:
    preset: generic
    verify: {scheme: token, header: X-Token, token: staple-battery}
    parse: {object_id: id}
    resolve: [link]
    mapping: {title: title}
  billing:
    preset: generic
    auth: {verify: {scheme: basic, username: crm, password: "x-${HELPDESK_SECRET}"}}
    parse: {object_id: id}
    resolve: [link]
    mapping: {title: title}
  open:
    preset: generic
    auth: {none: I accept unauthenticated webhooks}
    parse: {object_id: id}
    resolve: [link]
    mapping: {title: title}
"""


def test_a_secret_that_stands_in_the_file_is_named_by_its_place_alone(file: Path) -> None:
    warnings = loaded(file, SECRETS).warnings
    assert [(one.name, one.where.partition(":")[2], one.path) for one in warnings] == [
        ("literal_secret", "4:63", "sources.pipedrive-emea.auth.password[1]"),
        ("literal_secret", "8:20", "sources.hubspot.auth.secret"),
        ("literal_secret", "9:24", "sources.hubspot.read_back.token"),
        ("literal_secret", "13:53", "sources.helpdesk.verify.token"),
    ]
    assert "${PIPEDRIVE_EMEA_PASSWORD}" in warnings[0].hint
    assert "${HUBSPOT_TOKEN}" in warnings[2].hint
    assert "battery" not in " ".join(map(str, warnings))


def test_a_block_that_is_used_twice_is_warned_of_once(file: Path) -> None:
    text = PIPEDRIVE.replace("mapping:", "mapping: &all") + "      position: rank\n" + PIPEDRIVE[9:]
    text = text.replace("  pipedrive:", "  other:", 1).replace("    mapping:\n", "    mapping: *all\n")
    assert told(file, text) == ["position_mapped 6:7 sources.other.mapping.position"]


def test_a_warning_is_told_in_one_line(file: Path) -> None:
    (warning,) = loaded(file, PIPEDRIVE + "      position: rank\n").warnings
    assert str(warning) == (
        f"{file}:6:7: sources.pipedrive.mapping.position: position is the contact's rank on its customer's page, which "
        "no two contacts should share; leave it out; ChartMogul numbers new contacts (position_mapped)"
    )


ATTRIBUTES = PIPEDRIVE + "      title: job_title\n      custom: {Lifecycle: label, Life cycle: label}\n"


@pytest.mark.parametrize(
    ("seen", "named"),
    [
        ({}, []),
        ({"eu": frozenset[str]()}, []),
        ({"default": frozenset({"Lifecycle", "Tier"})}, ['sources.pipedrive.mapping.custom."Life cycle"']),
        ({"default": frozenset({"Lifecycle", "Life cycle"})}, []),
    ],
)
def test_an_attribute_that_chartmogul_never_showed(
    file: Path, seen: dict[str, frozenset[str]], named: list[str]
) -> None:
    config = loaded(file, ATTRIBUTES)
    assert [one.path for one in never_seen(config.places, config.sources, seen)] == named


def test_each_rule_of_the_file_has_its_place(file: Path) -> None:
    places = loaded(file, ATTRIBUTES + "    on_deleted: {notes: notes}\n").places
    assert {target: place.where.partition(":")[2] for (_, target), place in places.items() if target[0] != "e"} == {
        "title": "6:7",
        "custom.Lifecycle": "7:16",
        "custom.Life cycle": "7:34",
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_warning_is_explained(name: str) -> None:
    assert f"| `{name}` |" in README


EXAMPLES = [ROOT / "config.example.yaml", *sorted((ROOT / "deploy" / "examples").rglob("*.yaml"))]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_no_example_gives_a_warning(example: Path) -> None:
    """Who starts from one must not be taught to overlook warnings."""
    assert [str(one) for one in with_its_variables(example).warnings] == []


SHOWN = [
    pytest.param(text, id=f"{page.name}-{number}")
    for page in [ROOT / "README.md", *sorted((ROOT / "deploy" / "crms").glob("*.md"))]
    for number, text in enumerate(re.findall(r"```yaml\n((?:sources|define):.*?)```", page.read_text(), re.DOTALL), 1)
]


@pytest.mark.parametrize("text", SHOWN)
def test_no_configuration_that_is_shown_gives_a_warning(file: Path, text: str) -> None:
    file.write_text(text)
    assert [str(one) for one in with_its_variables(file).warnings] == []


def test_the_demo_gives_no_warning(file: Path) -> None:
    file.write_text(CONFIGURATION)
    assert [str(one) for one in with_its_variables(file).warnings] == []


def with_its_variables(path: Path) -> Config:
    values = dict.fromkeys(re.findall(r"\$\{(\w+)\}", path.read_text()), "0c6d1b7e4f524a7e9d1c2b8f5e6a7c90")
    return load(ENVIRONMENT | values, config_file=path, env_file=Path("no.env"))
