"""The JSON Schema of the configuration file, for editors: of what is written, before its rules are made whole."""

from copy import deepcopy
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode
from pydantic_core import CoreSchema

from service.config.definitions import USES_MAX
from service.config.file import FileShape, NoAuth, SettleSpec, preset_model, takes_verify, title_of
from service.config.parts import FROM, USE
from service.config.settings import NAME_PATTERN
from service.mapping import MappingSpec
from service.mapping.spec import RuleSpec
from service.model import Json
from service.readback import READERS
from service.sources import PRESETS

_LAYERED_MAPPING: Final = "LayeredMapping"
_LAYERED_RULE: Final = "LayeredRule"
_PART: Final = "Part"
_NAME: Final = {"type": "string", "pattern": NAME_PATTERN}
_NOT_FROM: Final = {"not": {"anyOf": [{"required": [key]} for key in FROM]}}
"""A rule that does not say itself where its value comes from."""


def json_schema() -> dict[str, Json]:
    """Return the JSON Schema (draft 2020-12) of the configuration file, for editors."""
    generator = GenerateJsonSchema(by_alias=True, ref_template="#/$defs/{model}")
    inputs: list[tuple[str, JsonSchemaMode, CoreSchema]] = [
        (preset, "validation", preset_model(preset, PRESETS[preset].Auth | NoAuth).__pydantic_core_schema__)
        for preset in PRESETS
    ]
    inputs.append(("file", "validation", FileShape.__pydantic_core_schema__))
    references, named = generator.generate_definitions(inputs)
    definitions: dict[str, Any] = {str(name): schema for name, schema in named.items()}
    file = definitions.pop("FileShape")
    _name_keys(file["properties"]["sources"], {"oneOf": [references[preset, "validation"] for preset in PRESETS]})
    _name_keys(file["properties"]["define"], {"$ref": f"#/$defs/{_PART}"})
    _leave_out_null(definitions)
    for preset in filter(takes_verify, PRESETS):
        _allow_verify(definitions[title_of(preset)], definitions[PRESETS[preset].Auth.__name__]["properties"]["verify"])
    _allow_layers(definitions)
    return {"$schema": GenerateJsonSchema.schema_dialect, **file, "title": "crm-to-chartmogul", "$defs": definitions}


def _name_keys(schema: dict[str, Any], values: dict[str, Any]) -> None:
    """Say what a mapping of names has."""
    schema.pop("patternProperties", None)
    schema |= {"propertyNames": {"pattern": NAME_PATTERN}, "additionalProperties": values}


def _leave_out_null(definitions: dict[str, Any]) -> None:
    """Take away the null of keys that are left out, not given null."""
    del definitions[SettleSpec.__name__]["properties"]["longest_s"]["default"]
    for preset in PRESETS:
        optional = [
            "when",
            "settle",
            "ignore",
            "on_deleted",
            "every_field",
            *(["read_back"] if preset in READERS else []),
        ]
        for name in optional:
            del definitions[title_of(preset)]["properties"][name]["default"]


def _allow_verify(source: dict[str, Any], verify: dict[str, Json]) -> None:
    """Let ``verify`` stand for ``auth``."""
    source["properties"]["verify"] = verify
    source["required"].remove("auth")
    source["oneOf"] = [{"required": ["auth"]}, {"required": ["verify"]}]


def _allow_layers(definitions: dict[str, Any]) -> None:
    """Let a mapping leave out what lies below it: rules without a path, ``use``, ``false``, or all of it."""
    rule, mapping = definitions[RuleSpec.__name__], definitions[MappingSpec.__name__]
    part = definitions[_PART] = deepcopy(rule)
    part["description"], part["oneOf"] = "Keys of a rule, for rules that say use: NAME.", [*rule["oneOf"], _NOT_FROM]
    rule["properties"][USE] = {
        "anyOf": [_NAME, {"type": "array", "items": _NAME, "minItems": 1, "maxItems": USES_MAX}],
        "description": "What stands under define by that name is part of this rule; later names win over earlier ones.",
    }
    rule["oneOf"] = [*rule["oneOf"], {"required": [USE], **_NOT_FROM}]
    layered = definitions[_LAYERED_RULE] = deepcopy(rule)
    layered["oneOf"] = part["oneOf"]
    definitions[_LAYERED_MAPPING] = _layered(mapping)
    mapping["minProperties"] = 1
    for preset, source in PRESETS.items():
        written = definitions[title_of(preset)]
        written["properties"]["mapping"]["$ref"] = f"#/$defs/{_LAYERED_MAPPING}"
        if source.usual_mapping:
            written["required"].remove("mapping")
            alone = {"properties": {"preset_mapping": {"const": False}}, "required": ["preset_mapping"]}
            something = {"properties": {"mapping": {"minProperties": 1}}, "required": ["mapping"]}
            written |= {"if": alone, "then": something}
        else:
            written["properties"]["mapping"]["minProperties"] = 1


def _layered(mapping: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a mapping that lies over another: a rule may add to what is below, or take it out."""
    over: dict[str, Any] = deepcopy(mapping)
    for target, schema in over["properties"].items():
        if target != "custom":
            choices = [choice for choice in schema["anyOf"] if "$ref" not in choice]
            out = {"const": False, "description": "Not sent, whatever the preset does."}
            schema["anyOf"] = [*choices, {"$ref": f"#/$defs/{_LAYERED_RULE}"}, out]
    return over
