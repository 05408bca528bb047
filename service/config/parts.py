"""Parts of rules: the keys that layers and definitions give, each knowing where it was written; pure."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from pydantic import ValidationError, create_model

from service.config.faults import faults_of
from service.config.yaml_file import Document, KeyPath
from service.errors import Fault
from service.mapping.forms import Strict
from service.mapping.spec import RuleSpec
from service.model import Json
from service.paths import Path, PathError

EVERY: Final = ("on_null", "on_blank", "on_error", "only_if_changed")
"""The keys that a source may set for every field."""
FROM: Final = ("from", "const", "concat")
"""The keys that say where a value comes from."""
RULE_KEYS: Final = tuple(info.alias or name for name, info in RuleSpec.model_fields.items())
"""The keys of a rule, but for ``use``."""
USE: Final = "use"

_FIELDS: Final[dict[str, Any]] = {name: (info.annotation, info) for name, info in RuleSpec.model_fields.items()}

PartSpec: Final[type[Strict]] = create_model(
    "PartSpec", __base__=Strict, __doc__="Keys of a rule, for rules that use them by name.", **_FIELDS
)


@dataclass(frozen=True, slots=True)
class Key:
    """A key's value, the same before ``${NAME}`` was replaced, and where it was written; None: nowhere in the file."""

    value: Json = field(repr=False)
    unresolved: Json = field(repr=False)
    at: KeyPath | None = None


Part: TypeAlias = dict[str, Key]
"""Some keys of a rule, or all of them."""


def part_of(value: Json, unresolved: Json, at: KeyPath | None) -> Part | None:
    """Return the keys that are written somewhere, a text standing for ``from``; None where it is neither.

    ``at`` None says that it stands nowhere in the file.
    """
    if isinstance(value, str):
        return {"from": Key(value, unresolved, at)}
    if not isinstance(value, dict) or not isinstance(unresolved, dict):
        return None
    return {key: Key(one, unresolved[key], None if at is None else (*at, key)) for key, one in value.items()}


def laid_over(lower: Part, upper: Part) -> Part:
    """Return the keys of both, those of the upper where both have one; what says where a value comes from is one."""
    if not upper.keys() & set(FROM):
        return lower | upper
    return {key: one for key, one in lower.items() if key not in {*FROM, "separator"}} | upper


def lone_faults(document: Document, path: KeyPath, part: Part) -> list[Fault]:
    """Return what is wrong with keys that are written at a path, each by itself."""
    try:
        PartSpec.model_validate({key: one.value for key, one in part.items()})
    except ValidationError as error:
        return faults_of(error.errors(include_url=False), document, shape=PartSpec, prefix=path)
    return []


def layers_of(rule: Part) -> str:
    """Say where the keys of a rule come from, from below: such as ``preset + define mobile + source``."""
    return " + ".join(word for _, word in sorted({_layer(key.at) for key in rule.values()}))


def reads_the_record(rule: Part) -> bool:
    """Say whether a rule has a path into the record, so that it can be asked whether that changed."""
    written = [rule[key].value for key in ("from", "concat") if key in rule]
    return any(_is_of_the_record(text) for value in written for text in _texts(value))


def _layer(at: KeyPath | None) -> tuple[int, str]:
    match at:
        case None:
            return 0, "preset"
        case (_, _, "every_field", *_):
            return 1, "every_field"
        case ("define", name, *_):
            return 2, f"define {name}"
        case _:
            return 3, "source"


def _texts(value: Json) -> Iterable[str]:
    every = value if isinstance(value, list) else [value]
    return (each for each in every if isinstance(each, str))


def _is_of_the_record(text: str) -> bool:
    with suppress(PathError):
        return Path.parse(text).head is not None
    return False
