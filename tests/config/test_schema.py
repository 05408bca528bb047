"""The JSON Schema that editors use: it knows every preset, leads nowhere else, and judges files as ``check`` does."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from service.config import json_schema
from service.config.yaml_file import read_yaml
from service.model import Json
from service.sources import PRESETS
from tests.support.json_schema import mistakes

SCHEMA: Final = json_schema()
FILES: Final = Path("tests/data/config").resolve()
RIGHT: Final = [
    *sorted((FILES / "valid").glob("*.yaml")),
    *sorted(Path("deploy/examples").resolve().glob("*.yaml")),
    Path("config.example.yaml").resolve(),
]
UNSEEN: Final = {
    "bad-path": "a path is any text to a schema",
    "paths": "as above",
    "unknown-account": "accounts are set in the environment",
    "define-in-combination": "what a rule lacks may be in what it uses",
    "define-unknown-name": "a schema cannot compare a name with those that are defined",
    "layers-all-taken-out": "nor what a preset has",
}
"""The faulty files that an editor cannot find fault with, and why."""


def _objects(node: Json) -> Iterator[dict[str, Json]]:
    if isinstance(node, dict):
        yield node
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _objects(inner)


def _definition(name: str) -> dict[str, Json]:
    definitions = json_schema()["$defs"]
    assert isinstance(definitions, dict)
    found = definitions[name]
    assert isinstance(found, dict)
    return found


def test_it_is_of_the_draft_that_editors_know() -> None:
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["sources"]


def test_every_reference_leads_to_a_definition() -> None:
    schema = json_schema()
    definitions = schema["$defs"]
    assert isinstance(definitions, dict)
    references = {node["$ref"] for node in _objects(schema) if "$ref" in node}
    assert references <= {f"#/$defs/{name}" for name in definitions}


def test_presets_are_told_apart_by_their_name() -> None:
    for preset in PRESETS:
        source = _definition(f"{preset.capitalize()}Source")
        properties = source["properties"]
        assert isinstance(properties, dict)
        assert properties["preset"] == {"const": preset, "title": "Preset", "type": "string"}
        assert source["additionalProperties"] is False
        assert isinstance(source["required"], list)
        assert ("mapping" in source["required"]) is (not PRESETS[preset].usual_mapping)
        assert "preset" in source["required"]


def test_verify_may_stand_in_a_generic_source_instead_of_auth() -> None:
    source = _definition("GenericSource")
    assert source["oneOf"] == [{"required": ["auth"]}, {"required": ["verify"]}]
    assert isinstance(source["required"], list)
    assert "auth" not in source["required"]


def test_settle_may_be_a_number_of_seconds_or_say_more() -> None:
    """An editor must not mark the short form as wrong."""
    for preset in PRESETS:
        properties = _definition(f"{preset.capitalize()}Source")["properties"]
        assert isinstance(properties, dict)
        settle = properties["settle"]
        assert isinstance(settle, dict)
        seconds = {"maximum": 300.0, "minimum": 0, "type": "number"}
        assert settle["anyOf"] == [seconds, {"$ref": "#/$defs/SettleSpec"}]
    assert _definition("SettleSpec")["required"] == ["window_s"]


def test_a_key_that_may_not_be_null_has_no_null_for_its_default() -> None:
    sources = [node for preset in PRESETS for node in _objects(_definition(f"{preset.capitalize()}Source"))]
    for node in [*sources, *_objects(_definition("SettleSpec"))]:
        assert node.get("default", "") is not None, node


def test_a_secret_may_stand_alone_or_in_a_list() -> None:
    auth = _definition("PipedriveAuth")["properties"]
    assert isinstance(auth, dict)
    password = auth["password"]
    assert isinstance(password, dict)
    assert isinstance(password["anyOf"], list)
    assert [choice["type"] for choice in password["anyOf"] if isinstance(choice, dict)] == ["string", "array"]
    assert "maxLength" not in password


def test_no_secret_is_asked_for_as_plain_text() -> None:
    """Editors then neither complete nor remember it."""
    auth = _definition("PipedriveAuth")["properties"]
    assert isinstance(auth, dict)
    assert any(node.get("format") == "password" for node in _objects(auth["password"]))


def test_it_is_made_afresh_each_time() -> None:
    first = json_schema()
    first.clear()
    assert json_schema()["title"] == "crm-to-chartmogul"


def _judged(file: Path) -> list[str] | None:
    """Return what the schema says of a file, None where it is no YAML that we take, or lacks a variable."""
    document = read_yaml(file.read_text(), name=file.name, variable=lambda _: "0c6d1b7e4f524a7e9d1c2b8f5e6a7c90")
    return None if document.faults else mistakes(SCHEMA, document.value)


@pytest.mark.parametrize("file", RIGHT, ids=lambda file: file.stem)
def test_a_right_file_has_no_mistake_in_an_editor(file: Path) -> None:
    assert _judged(file) == []


@pytest.mark.parametrize("file", sorted((FILES / "invalid").glob("*.yaml")), ids=lambda file: file.stem)
def test_a_faulty_file_has_one_where_a_schema_can_tell(file: Path) -> None:
    judged = _judged(file)
    assert judged is None or bool(judged) or file.stem in UNSEEN


def test_what_the_layers_allow_is_known() -> None:
    """A rule may be a part, use parts, or be taken out; a part says at most one way to a value, and uses none."""
    written: dict[str, Json] = {
        "preset": "pipedrive",
        "auth": {"username": "crm", "password": "x"},
        "preset_mapping": True,
        "every_field": {"on_null": "clear"},
        "mapping": {"twitter": False, "phone": {"use": ["mobile"]}, "title": {"on_blank": "clear"}},
    }
    definition: dict[str, Json] = {"transform": [{"e164": "US"}], "on_error": "skip"}

    def judged(source: dict[str, Json], part: dict[str, Json]) -> bool:
        return mistakes(SCHEMA, {"define": {"mobile": part}, "sources": {"crm": source}}) == []

    assert judged(written, definition)
    assert judged({key: value for key, value in written.items() if key != "mapping"}, definition)
    assert not judged({**written, "preset_mapping": False, "mapping": {}}, definition)
    assert not judged({**written, "every_field": {"transform": ["trim"]}}, definition)
    assert not judged({**written, "mapping": {"phone": {"use": []}}}, definition)
    assert not judged({**written, "mapping": {"phone": {"from": "phone", "const": "x"}}}, definition)
    assert not judged({**written, "mapping": {"custom": {"Tier": {"transform": ["trim"]}}}}, definition)
    assert not judged({**written, "mapping": {"title": {"from": "label", "map": {}}}}, definition)
    assert not judged({**written, "on_deleted": {"title": False}}, definition)
    assert not judged(written, {"use": "mobile"})
    assert not judged(written, {"from": "phone", "const": "x"})
