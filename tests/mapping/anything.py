"""Any JSON value, any argument of a transform, any rule and any change, as far as their own checks admit them."""

import zoneinfo
from typing import Any

import phonenumbers
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from service.mapping.evaluation import FUNCTIONS
from service.mapping.expression import checked
from service.mapping.spec import RuleSpec
from service.mapping.targets import STANDARD
from service.mapping.transforms import TRANSFORMS
from service.mapping.values import TEXT_BYTES_MAX
from service.model import Action, Change, Json
from service.paths import EVENT_FIELDS

NAMES = ["a", "b", "value", "primary"]


def _deep() -> Json:
    value: Json = "bottom"
    for number in range(3000):
        value = [value] if number % 2 else {"a": value}
    return value


EXTREMES: list[Json] = [
    *("", " ", "\x00", "\ud800", "\udfff" * 40, "İ" * 40, "ß" * 40_000, "x" * 300_000, "\U0001f600" * 20_000),
    *("+1 212 555 2368", "tel:+49-30;phone-context=+1", "２１２", "<a b='x'", "&#x110000;", "<" * 5_000, "1e400"),  # noqa: RUF001
    *("2026-03-01T09:30:00Z", "/Date(1772357400000)/", "0001-01-01", "9999-12-31T23:59:59-23:59", "20260301"),
    *("www.linkedin.com/in/ada", "[::1]:99", "http://[", "javascript:alert(1)", "9" * 5_000, "-0", "1e-400"),
    *(10**5_000, -(2**63), 1e308, -1e-308, float("inf"), float("nan"), 2.0, True),
    _deep(),
    [[] for _ in range(20_000)],
    {str(number): number for number in range(5_000)},
    ["x" * 1_000] * 300,
]
JSON: st.SearchStrategy[Json] = st.sampled_from(EXTREMES) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20)
    | st.sampled_from(EXTREMES[:24]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(NAMES), inner),
    max_leaves=10,
)  # fmt: skip
WORDS = st.text(max_size=12)


def _call(name: str, arguments: tuple[str, ...]) -> str:
    written = [f"&{text}" if FUNCTIONS[name].takes_expression(at) else text for at, text in enumerate(arguments)]
    return f"{name}({', '.join(written[: len(FUNCTIONS[name].expressions)])})"


EXPRESSIONS: st.SearchStrategy[str] = st.recursive(
    st.sampled_from(["a", "value", "@", "[0]", "[*]", "[]", "[-1:]", "*", "`1`", '`["a"]`', "`1e308`", "'x'"]),
    lambda inner: (
        st.tuples(inner, st.sampled_from([" | ", " || ", " && ", " == ", " < ", "."]), inner).map("".join)
        | inner.map("[?{}]".format)
        | inner.map("!({})".format)
        | st.tuples(inner, inner).map("[{0[0]}, {0[1]}]".format)
        | inner.map("{{a: {}}}".format)
        | st.builds(_call, st.sampled_from(sorted(FUNCTIONS)), st.tuples(inner, inner))
    ),
    max_leaves=6,
)  # fmt: skip


def admitted(text: str) -> bool:
    try:
        return checked(text) == text
    except PydanticCustomError:
        return False


_ARGUMENTS: dict[str, st.SearchStrategy[Any]] = {
    "replace": st.fixed_dictionaries({"from": st.text(min_size=1, max_size=9), "to": st.text(max_size=255)}),
    "truncate": st.integers(1, TEXT_BYTES_MAX),
    "to_date": st.sampled_from(sorted(zoneinfo.available_timezones())),
    "to_datetime": st.sampled_from(sorted(zoneinfo.available_timezones())),
    "e164": st.sampled_from(sorted(phonenumbers.SUPPORTED_REGIONS)),
    "join": st.text(max_size=255),
    "jmespath": EXPRESSIONS.filter(admitted),
}


@st.composite
def transforms(draw: st.DrawFn) -> str | dict[str, Any]:
    """Any transform as it may be written, with any argument that it takes."""
    name = draw(st.sampled_from(list(TRANSFORMS)))
    without = not TRANSFORMS[name].required and (name not in _ARGUMENTS or draw(st.booleans()))
    return name if without else {name: draw(_ARGUMENTS[name])}


FIELDS = st.sampled_from(["a", "b", "a.value", "a[0]", "a[-1].b", "b[?primary].value", "a[?b=x]"])
PATHS = FIELDS | st.sampled_from([f"$event.{name}" for name in EVENT_FIELDS]) | FIELDS.map("$previous.{}".format)
SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
CONSTANTS = SCALARS | WORDS
CONDITIONS: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.fixed_dictionaries({"field": PATHS, "equals": CONSTANTS})
    | st.fixed_dictionaries({"field": PATHS, "in": st.lists(CONSTANTS, min_size=1, max_size=3)})
    | st.fixed_dictionaries({"field": PATHS, "exists": st.booleans()})
    | st.fixed_dictionaries({"field": FIELDS, "changed": st.booleans()}),
    lambda inner: (
        st.fixed_dictionaries({"not": inner})
        | st.fixed_dictionaries({"all": st.lists(inner, min_size=1, max_size=2)})
        | st.fixed_dictionaries({"any": st.lists(inner, min_size=1, max_size=2)})
    ),
    max_leaves=3,
)
_PARTS = st.lists(PATHS | st.fixed_dictionaries({"const": WORDS}), min_size=1, max_size=3)
_SOURCES = (
    st.fixed_dictionaries({"from": PATHS | st.lists(PATHS, min_size=1, max_size=3)})
    | st.fixed_dictionaries({"const": CONSTANTS})
    | st.builds(
        lambda path, parts, separator: {"concat": [path, *parts], "separator": separator}, PATHS, _PARTS, WORDS
    )
)  # fmt: skip
_OTHERS = st.fixed_dictionaries(
    {},
    optional={
        "transform": st.lists(transforms(), max_size=4),
        "map": st.dictionaries(st.sampled_from(["1", "a", "true", ""]), CONSTANTS, min_size=1),
        "default": CONSTANTS,
        "when": CONDITIONS,
        "on_null": st.sampled_from(["skip", "clear"]),
        "on_blank": st.sampled_from(["skip", "clear"]),
        "on_error": st.sampled_from(["skip", "fail"]),
    },
)
RULES = st.builds(lambda source, others: RuleSpec.model_validate({**source, **others}), _SOURCES, _OTHERS)
TARGETS = st.sampled_from([*STANDARD, "custom.Plan"])

RECORDS = st.dictionaries(st.sampled_from(["a", "b"]), JSON)
CHANGES = st.builds(
    Change,
    *(st.just("key"), st.just("person"), st.just("451"), st.sampled_from(Action)),
    values=RECORDS,
    previous=st.none() | RECORDS,
    changed_fields=st.none() | st.lists(st.sampled_from(["a", "a.value", "b", "", "."])).map(tuple),
)
