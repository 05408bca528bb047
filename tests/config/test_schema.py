"""The JSON Schema that editors use: it knows every preset, and leads nowhere else."""

from collections.abc import Iterator

from service.config import json_schema
from service.model import Json
from service.sources import PRESETS


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
        assert {"preset", "mapping"} <= {str(name) for name in source["required"]}


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
