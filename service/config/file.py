"""The configuration file as types: what may stand under ``sources``, preset by preset, once its rules are whole."""

from datetime import timedelta
from functools import cache
from typing import Annotated, Any, Final, Literal, TypeAlias, cast

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    StrictBool,
    Tag,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from service.admission import Admission
from service.config.settings import DEFAULT_ACCOUNT, NAME_PATTERN
from service.config.variables import nearest
from service.mapping import ConditionSpec, MappingSpec
from service.mapping.forms import PathField, not_null
from service.mapping.forms import Strict as RuleStrict
from service.model import Deliver, Settle
from service.paths import Path
from service.readback import READERS
from service.resolver import ByCustomer, ByEmail, ByLink, ByUuid, OnAmbiguous, OnUnknown, ResolveStep
from service.sources import PRESETS
from service.sources.base import Strict

RESOLVE_MAX: Final = 8
"""Steps of ``resolve``."""
IGNORE_MAX: Final = 100
"""Origins, and actors, that ``ignore`` names."""
SOURCES_MAX: Final = 200
"""Sources in one file."""
DEFINITIONS_MAX: Final = 200
"""Parts of rules under ``define``."""
SETTLE_MAX_S: Final = 300.0
"""The longest that changes may be made to wait for others."""
SETTLE_WINDOWS: Final = 5
"""Windows that changes wait in all, where the file does not say how long."""
NO_AUTH: Final = "I accept unauthenticated webhooks"
"""What must stand under ``auth.none``, word for word."""
Proof: TypeAlias = Literal["auth", "none", "verify"]
"""How a source's senders are proved: as the preset does, not at all, or by ``verify`` in the short form."""

_STEPS: Final = "link, {email: PATH}, {uuid: PATH} or {customer_external_id: PATH, email: PATH}"


class NoAuth(Strict):
    """No proof of the sender at all, said in so many words."""

    none: Literal["I accept unauthenticated webhooks"]

    @model_validator(mode="before")
    @classmethod
    def _in_so_many_words(cls, value: object) -> object:
        if not isinstance(value, dict):
            allowed = f'the keys that the preset needs, or {{none: "{NO_AUTH}"}}'
            raise PydanticCustomError("no_auth", "allowed: {allowed}", {"allowed": allowed})
        return value


class EmailStep(Strict):
    """The contact with the record's email."""

    email: PathField


class UuidStep(Strict):
    """The contact whose ``con_`` uuid the record carries."""

    uuid: PathField


class CustomerStep(Strict):
    """The contact with the record's email among those of one customer."""

    customer_external_id: PathField
    email: PathField


def _link(value: object) -> object:
    if value != "link":
        near = nearest(value, ["link"]) if isinstance(value, str) else None
        context = {"allowed": _STEPS} | ({"nearest": near} if near else {})
        raise PydanticCustomError("resolve", "allowed: {allowed}", context)
    return value


def _kind_of_step(value: object) -> str:
    if not isinstance(value, dict):
        return "link"
    return next((tag for key, tag in _STEP_TAGS.items() if key in value), "EmailStep")


_STEP_TAGS: Final = {"customer_external_id": "CustomerStep", "uuid": "UuidStep"}

Step = Annotated[
    Annotated[Literal["link"], BeforeValidator(_link), Tag("link")]
    | Annotated[EmailStep, Tag("EmailStep")]
    | Annotated[UuidStep, Tag("UuidStep")]
    | Annotated[CustomerStep, Tag("CustomerStep")],
    Discriminator(_kind_of_step),
]


_Resolve = Annotated[
    tuple[Step, ...],
    Field(min_length=1, max_length=RESOLVE_MAX, description="How the ChartMogul contact is found, in this order."),
    BeforeValidator(not_null),
]


_Seconds = Annotated[float, Field(ge=0, le=SETTLE_MAX_S, allow_inf_nan=False)]


class SettleSpec(Strict):
    """How long further changes of a contact are waited for; short form: the window in seconds."""

    window_s: Annotated[_Seconds, Field(description="After each change.")]
    longest_s: Annotated[
        _Seconds | SkipJsonSchema[None], BeforeValidator(not_null), Field(description="In all; default five windows.")
    ] = None

    @field_validator("longest_s")
    @classmethod
    def _window_within_the_longest(cls, longest_s: float | None, told: ValidationInfo) -> float | None:
        if longest_s is not None and longest_s < told.data.get("window_s", 0):
            raise PydanticCustomError("settle", "allowed: {allowed}", {"allowed": "at least window_s"})
        return longest_s

    def as_settle(self) -> Settle:
        """Return it as the log takes it."""
        windows_s = min(self.window_s * SETTLE_WINDOWS, SETTLE_MAX_S)
        longest_s = windows_s if self.longest_s is None else self.longest_s
        return Settle(timedelta(seconds=self.window_s), timedelta(seconds=longest_s))


def _in_seconds(value: object) -> object:
    """Let a number stand for a window of so many seconds."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"window_s": value}
    if value is None or isinstance(value, dict):
        return not_null(value)
    allowed = "seconds as a number, or {window_s: SECONDS, longest_s: SECONDS}"
    raise PydanticCustomError("settle", "allowed: {allowed}", {"allowed": allowed})


_Word = Annotated[str, Field(min_length=1, max_length=100)]
_Words = Annotated[
    tuple[_Word, ...],
    BeforeValidator(
        lambda value: [value] if isinstance(value, str) else value, json_schema_input_type=_Word | tuple[_Word, ...]
    ),
    Field(max_length=IGNORE_MAX),
]


class IgnoreSpec(Strict):
    """Whose changes are logged and ignored: those that integrations make, such as our own echo, or imports."""

    origin: Annotated[_Words, Field(description="As the CRM names what a change came from, such as IMPORT.")] = ()
    actor: Annotated[_Words, Field(description="As the CRM names who made a change, such as a user's id.")] = ()


class EveryFieldSpec(RuleStrict):
    """What holds for each field of a source whose own rule does not say otherwise."""

    on_null: Literal["skip", "clear"] = Field(default="skip", description="What a null in the CRM does.")
    on_blank: Literal["skip", "clear"] = Field(default="skip", description="What a blank value in the CRM does.")
    on_error: Literal["skip", "fail"] = Field(default="fail", description="What a value does that cannot be used.")
    only_if_changed: bool = Field(
        default=False, description="Skip a field unless the change lists it as changed; not those without a path."
    )


class SourceSpec(Strict):
    """What every source may say, whatever its preset."""

    account: Annotated[
        str, Field(pattern=NAME_PATTERN, description="The ChartMogul account that the contacts go to.")
    ] = DEFAULT_ACCOUNT
    resolve: _Resolve = ()
    on_unknown: Annotated[OnUnknown, Field(description="When ChartMogul has no such contact.")] = OnUnknown.DEAD_LETTER
    on_ambiguous: Annotated[OnAmbiguous, Field(description="When several contacts fit.")] = OnAmbiguous.DEAD_LETTER
    deliver: Annotated[Deliver, Field(description="Whether changes are sent, or only what would be is recorded.")] = (
        Deliver.LIVE
    )
    when: Annotated[
        ConditionSpec | SkipJsonSchema[None],
        BeforeValidator(not_null),
        Field(description="Only changes for which this holds are delivered."),
    ] = None
    settle: Annotated[
        SettleSpec | SkipJsonSchema[None],
        BeforeValidator(_in_seconds, json_schema_input_type=_Seconds | SettleSpec),
        Field(description="How long further changes of a contact are waited for, so that one call carries them all."),
    ] = None
    ignore: Annotated[
        IgnoreSpec | SkipJsonSchema[None],
        BeforeValidator(not_null),
        Field(description="Changes of these origins or actors are logged and ignored."),
    ] = None
    on_deleted: Annotated[
        MappingSpec | SkipJsonSchema[None],
        BeforeValidator(not_null),
        Field(description="What a deletion in the CRM sends; without it, a deletion sends nothing."),
    ] = None
    preset_mapping: Annotated[
        StrictBool, Field(description="Whether the preset's usual mapping lies below this one; false: only this one.")
    ] = True
    every_field: Annotated[
        EveryFieldSpec | SkipJsonSchema[None],
        BeforeValidator(not_null),
        Field(description="What holds for each field whose rule does not say otherwise, the preset's among them."),
    ] = None
    mapping: Annotated[MappingSpec, Field(description="Which field gets what, laid over the preset's usual mapping.")]

    def admission(self) -> Admission:
        """Return which changes are let in."""
        ignore = self.ignore or IgnoreSpec()
        origins, actors = (frozenset(word.casefold() for word in words) for words in (ignore.origin, ignore.actor))
        return Admission(origins, actors, deletions=self.on_deleted is not None)

    def steps(self, preset: str) -> tuple[ResolveStep, ...]:
        """Return how the contact is found: as written, else by link and the preset's usual email."""
        return tuple(_step(step) for step in self.resolve) or _usual(preset)


class FileShape(Strict):
    """Which CRMs may send webhooks, and what becomes of the contacts that they name."""

    sources: Annotated[
        dict[Annotated[str, Field(pattern=NAME_PATTERN)], dict[str, Any]],
        Field(min_length=1, max_length=SOURCES_MAX, description="The CRMs, by the name in POST /webhooks/NAME."),
    ]
    define: Annotated[
        dict[Annotated[str, Field(pattern=NAME_PATTERN)], dict[str, Any]],
        Field(
            default_factory=dict,
            max_length=DEFINITIONS_MAX,
            description="Parts of rules by name, for rules that say use: NAME.",
        ),
    ]


@cache
def source_model(preset: str | None, *, proof: Proof) -> type[SourceSpec]:
    """Return the model of a preset's source; for no preset one that checks what all presets share."""
    if preset is None:
        return create_model(
            "AnySource",
            __base__=SourceSpec,
            preset=cast("Any", (Literal[tuple(PRESETS)], ...)),
            auth=(Any, None),
            mapping=(MappingSpec, MappingSpec()),
            verify=(Any, None),
            parse=(Any, None),
            read_back=(Any, None),
        )
    return preset_model(preset, NoAuth if proof == "none" else PRESETS[preset].Auth, verify=proof == "verify")


def takes_verify(preset: str | None) -> bool:
    """Say whether ``verify`` may stand in the source itself, short for ``auth: {verify: …}``."""
    return preset in PRESETS and "verify" in PRESETS[preset].Auth.model_fields


def preset_model(preset: str, auth: Any, *, verify: bool = False) -> type[SourceSpec]:  # noqa: ANN401  # a type or a union
    """Return the model of a preset's source with that ``auth``, or with ``verify`` in its place."""
    source_type = PRESETS[preset]
    fields: dict[str, Any] = {"preset": (Literal[preset], ...), "auth": (auth, ...)}
    if verify:
        del fields["auth"]
        fields["verify"] = (source_type.Auth.model_fields["verify"].annotation, source_type.Auth.model_fields["verify"])
    if source_type.Parse is not None:
        fields["parse"] = _given(source_type.Parse)
    if preset in READERS:
        fields["read_back"] = (_read_back(READERS[preset].Spec), None)
    if source_type.usual_email is None:
        fields["resolve"] = (_Resolve, ...)
    return create_model(title_of(preset), __base__=SourceSpec, **fields)


def _read_back(spec: Any) -> Any:  # noqa: ANN401  # a type, and the field that it makes
    said = Field(description="How the CRM's present record is read, where its events say too little.")
    absent: Any = SkipJsonSchema[None]  # type: ignore[misc]  # it is a type only where it stands in an annotation
    return Annotated[spec | absent, BeforeValidator(not_null), said]


def _given(parse: type[Strict]) -> tuple[Any, Any]:
    """Return a preset's ``parse`` as a field, which may be left out where all that stands in it may."""
    needed = any(field.is_required() for field in parse.model_fields.values())
    return (parse, ...) if needed else (parse, Field(default_factory=parse))


def title_of(preset: str) -> str:
    """Return the name of a preset's model."""
    return f"{preset.capitalize()}Source"


def _usual(preset: str) -> tuple[ResolveStep, ...]:
    return (ByLink(), ByEmail(Path.parse(PRESETS[preset].usual_email or "")))


def _step(step: object) -> ResolveStep:
    match step:
        case UuidStep(uuid=Path() as uuid):
            return ByUuid(uuid)
        case CustomerStep(customer_external_id=Path() as customer, email=Path() as email):
            return ByCustomer(customer, email)
        case EmailStep(email=Path() as email):
            return ByEmail(email)
        case _:
            return ByLink()
