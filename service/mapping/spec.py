"""What an operator may write under ``mapping`` and ``when``, checked to the last path and argument before it is used.

Faults stand at the exact place and carry ``found``, ``allowed`` and, where there is one, ``nearest`` in their context.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, create_model, model_validator

from service.mapping.forms import PATH_SCHEMA, PathField, Scalar, Short, Strict, Table, fault, not_null, read_path
from service.mapping.targets import CUSTOM_PREFIX
from service.mapping.transforms import TRANSFORMS
from service.paths import Path, nearest

PATHS_MAX: Final = 16
"""Paths of a ``from``, parts of a ``concat``."""
TRANSFORMS_MAX: Final = 16
"""Transforms of a rule."""
CONDITIONS_MAX: Final = 32
"""Values of ``in``, parts of ``all`` and ``any``."""
NESTING_MAX: Final = 8
"""Conditions within conditions."""
CUSTOM_MAX: Final = 256
"""Custom attributes of a mapping."""
NAME_MAX: Final = 255
"""Characters of a custom attribute's name, and of the texts between joined values."""

_NotNull: Final = BeforeValidator(not_null)


class ConditionSpec(Strict):
    """A question about a change: a ``field`` and one test of it, or ``all``, ``any`` or ``not`` of other questions."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["field", "equals"]},
                {"required": ["field", "in"]},
                {"required": ["field", "exists"]},
                {"required": ["field", "changed"]},
                {"required": ["all"]},
                {"required": ["any"]},
                {"required": ["not"]},
            ]
        }
    )

    field: PathField = Field(default=None, description="Where the value stands that is tested.")
    equals: Scalar = Field(default=None, description="Holds if the value has this text; null fits null alone.")
    in_: Annotated[tuple[Scalar, ...], Field(strict=False)] = Field(
        default=(), alias="in", min_length=1, max_length=CONDITIONS_MAX, description="As equals, with one of these."
    )
    exists: Annotated[bool | None, _NotNull] = Field(
        default=None, description="Whether there is a value that is neither absent nor null."
    )
    changed: Annotated[bool | None, _NotNull] = Field(
        default=None, description="Whether the change lists the field as changed; true where it lists none."
    )
    all_: Annotated[tuple["ConditionSpec", ...], Field(strict=False)] = Field(
        default=(), alias="all", min_length=1, max_length=CONDITIONS_MAX, description="Holds if each of these does."
    )
    any_: Annotated[tuple["ConditionSpec", ...], Field(strict=False)] = Field(
        default=(), alias="any", min_length=1, max_length=CONDITIONS_MAX, description="Holds if one of these does."
    )
    not_: Annotated["ConditionSpec | None", _NotNull] = Field(
        default=None, alias="not", description="Holds if this does not."
    )

    @model_validator(mode="after")
    def _one_question(self) -> Self:
        given = self.model_fields_set
        shape = (len(given & {"equals", "in_", "exists", "changed"}), len(given & {"all_", "any_", "not_"}))
        if shape != ((1, 0) if "field" in given else (0, 1)):
            allowed = "field with one of equals, in, exists, changed; or one of all, any, not"
            raise fault("condition", _listed(self), allowed)
        if self.changed is not None and self.field is not None and self.field.head is None:
            raise fault("condition", f"changed of {self.field.text}", "changed of a field of the record")
        if self.nesting > NESTING_MAX:
            raise fault("condition", f"{self.nesting} conditions in each other", f"at most {NESTING_MAX}")
        return self

    @property
    def parts(self) -> "tuple[ConditionSpec, ...]":
        """The questions that this one is made of."""
        return (*self.all_, *self.any_, *(() if self.not_ is None else (self.not_,)))

    @property
    def nesting(self) -> int:
        """How many conditions deep this one is."""
        return 1 + max((part.nesting for part in self.parts), default=0)

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every path that is read to answer."""
        own = () if self.field is None else (self.field,)
        return (*own, *(path for part in self.parts for path in part.paths))


class ConstPart(Strict):
    """A fixed text between the values that are joined."""

    const: str = Field(max_length=NAME_MAX)


@dataclass(frozen=True, slots=True)
class TransformSpec:
    """One transform of a rule: its name, and its argument where one was given."""

    name: str
    argument: object = None


_BARE: Final = [name for name, transform in TRANSFORMS.items() if not transform.required]
_CALLED: Final[dict[str, Any]] = {
    name: (transform.argument, Field(default=None, description=transform.summary))
    for name, transform in TRANSFORMS.items()
}


class _OneKey(Strict):
    """A transform with its argument, as one key."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})


TransformCall: type[Strict] = create_model("TransformCall", __base__=_OneKey, __doc__=_OneKey.__doc__, **_CALLED)


def _bare_transform(name: str) -> TransformSpec:
    if name in _BARE:
        return TransformSpec(name)
    if name in TRANSFORMS:
        raise fault("transform", f"{name} without its argument", f"{{{name}: …}}; {TRANSFORMS[name].summary}")
    raise fault("transform", repr(name), ", ".join(TRANSFORMS), close=nearest(name, TRANSFORMS))


def _called_transform(call: Strict) -> TransformSpec:
    if len(call.model_fields_set) != 1:
        raise fault("transform", f"{len(call.model_fields_set)} keys", "one transform for each item of the list")
    (name,) = call.model_fields_set
    return TransformSpec(name, getattr(call, name))


_PathList = Annotated[tuple[PathField, ...], Field(strict=False, min_length=1, max_length=PATHS_MAX)]
_From = Annotated[
    tuple[Path, ...],
    Short(
        lambda text: (read_path(text),),
        PATH_SCHEMA,
        long=_PathList,
        shape=list,
        allowed="a path as text, or a list of paths",
    ),
]
_Part = Annotated[
    Path | ConstPart, Short(read_path, PATH_SCHEMA, long=ConstPart, allowed="a path as text, or {const: text}")
]
_TransformStep = Annotated[
    TransformSpec,
    Short(
        _bare_transform,
        {"type": "string", "enum": _BARE},
        long=TransformCall,
        finish=_called_transform,
        allowed="the name of a transform, or {name: argument}",
    ),
]


class RuleSpec(Strict):
    """How one target field gets its value.

    The order is: when and only_if_changed; from, const or concat; on_null and on_blank; transform, until nothing is
    left; map; on_null and on_blank again; the target's own type. ``default`` stands in for a value without an entry in
    ``map`` or, if there is no map, for one that is missing, null or blank. A missing value without default is skipped.
    """

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["from"]}, {"required": ["const"]}, {"required": ["concat"]}]}
    )

    from_: _From = Field(default=(), alias="from", description="A path, or several: the first with a value is taken.")
    const: Scalar = Field(default=None, description="A fixed value.")
    concat: Annotated[tuple[_Part, ...], Field(strict=False)] = Field(
        default=(),
        min_length=1,
        max_length=PATHS_MAX,
        description="Paths and {const: text}, joined; what is missing, null or blank is left out.",
    )
    separator: str = Field(default="", max_length=NAME_MAX, description="What stands between the joined parts.")
    transform: Annotated[tuple[_TransformStep, ...], Field(strict=False)] = Field(
        default=(), max_length=TRANSFORMS_MAX, description="What is done to the value, in order."
    )
    map: Annotated[Table | None, _NotNull] = Field(
        default=None, description="A table of values, looked up by text. A value without entry is an error."
    )
    default: Scalar = Field(default=None, description="What stands in for a value without entry, or for none.")
    when: Annotated[ConditionSpec | None, _NotNull] = Field(
        default=None, description="Skip the field unless this holds."
    )
    on_null: Literal["skip", "clear"] = Field(default="skip", description="What a null in the CRM does.")
    on_blank: Literal["skip", "clear"] = Field(default="skip", description="What a blank value in the CRM does.")
    on_error: Literal["skip", "fail"] = Field(default="fail", description="What a value does that cannot be used.")
    only_if_changed: bool = Field(default=False, description="Skip the field unless the change lists it as changed.")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = self.model_fields_set
        if len(given & {"from_", "const", "concat"}) != 1:
            raise fault("rule", _listed(self), "exactly one of from, const, concat")
        if "separator" in given and "concat" not in given:
            raise fault("rule", "separator without concat", "separator beside concat, join for a list")
        if self.concat and not self.paths:
            raise fault("rule", "concat without a path", "at least one path in concat; else const")
        if self.only_if_changed and not any(path.head for path in self.paths):
            raise fault("rule", "only_if_changed without a field of the record", "only_if_changed beside such a path")
        return self

    @property
    def paths(self) -> tuple[Path, ...]:
        """The paths that the value comes from."""
        return (*self.from_, *(part for part in self.concat if isinstance(part, Path)))


def _short_rule(text: str) -> RuleSpec:
    read_path(text)  # so that a fault stands at the text itself, not at a key below that is not there
    return RuleSpec.model_validate({"from": text})


_RULE: Final = Short(
    _short_rule, PATH_SCHEMA, long=RuleSpec, allowed="a path as text, or a rule, as {from: [job_title, title]}"
)
_Rule = Annotated[RuleSpec | None, _RULE]
_CustomRule = Annotated[RuleSpec, _RULE]


class MappingSpec(Strict):
    """What each field of the ChartMogul contact is made of: a path, or a rule. Others are not touched."""

    other_keys = "; other names are custom attributes, each under custom"

    first_name: _Rule = None
    last_name: _Rule = None
    title: _Rule = None
    email: _Rule = None
    phone: _Rule = None
    linked_in: _Rule = None
    twitter: _Rule = None
    notes: _Rule = None
    position: _Rule = None
    external_id: _Rule = None
    last_seen: _Rule = None
    custom: dict[Annotated[str, Field(min_length=1, max_length=NAME_MAX)], _CustomRule] = Field(
        default_factory=dict,
        max_length=CUSTOM_MAX,
        description="Custom attributes by name; each must be defined for contacts in ChartMogul.",
    )

    def rules(self) -> Iterator[tuple[str, RuleSpec]]:
        """Every rule with its target, custom attributes as ``custom.<name>``."""
        for target in type(self).model_fields:
            rule = getattr(self, target)
            if isinstance(rule, RuleSpec):
                yield target, rule
        for name, rule in self.custom.items():
            yield CUSTOM_PREFIX + name, rule


def _listed(spec: Strict) -> str:
    fields = type(spec).model_fields
    return " and ".join(fields[name].alias or name for name in fields if name in spec.model_fields_set) or "nothing"
