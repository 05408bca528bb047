"""What there is to say of the values at one place, without giving away any person's; pure."""

import re
from typing import Final

from service.operations.suggest.names import PERSONAL
from service.operations.suggest.shapes import JSON_TYPES, PHONES, WORDS, Kind
from service.operations.suggest.survey import DISTINCT_MAX, Seen

ENUM_RECORDS_MIN: Final = 50
"""Records without which few values do not mean that there are few."""
ENUM_VALUE_MIN: Final = 3
"""Records that must share a value before it is written down."""
CLEARLY: Final = 0.5
"""The share of values from which on they are what they look like."""
SHOWN_MAX: Final = 6
"""Values of a field with few of them that are shown with their counts."""

_ENUM_VALUE: Final = re.compile(r"(?!.*\d{7})[A-Za-z0-9][\w .&/+|-]{0,29}")
"""Of more digits in a row somebody's number may be made."""
_INITIAL: Final = re.compile(r"\w\.? .*")
_USER: Final = re.compile(r"[^\W\d_]+\.[^\W\d_]+")
_COUNTED: Final = frozenset({Kind.TEXT, Kind.DIGITS, Kind.NUMBER, Kind.BOOLEAN})
"""Kinds of which a few values may be a list to choose from."""


def told(seen: Seen, records: int) -> str:
    """Say on what a rule rests: how many records have it, of what kind it is, and such as what."""
    share = f"{100 * seen.records / records:.0f} % of {records:,} records"
    if (values := enum_values(seen)) is not None and seen.distinct is not None:
        counts = [f"{value} ({seen.distinct[value]:,})" for value in values[:SHOWN_MAX]]
        more = ", …" if len(seen.distinct) > len(counts) else ""
        return f"{share}, one of {len(seen.distinct)} values: {', '.join(counts)}{more}"
    return f"{share}, {seen.kind.value}" + ("" if seen.kind is Kind.BOOLEAN else f" such as {seen.example}")


def enum_values(seen: Seen) -> list[str] | None:
    """Return the values of a field that takes a few of them; None where it does not, or where they may be personal.

    Values that hardly any record has are left out: they may be anything.
    """
    distinct = seen.distinct
    if distinct is None or len(distinct) > DISTINCT_MAX or seen.records < ENUM_RECORDS_MIN:
        return None
    if PERSONAL.search(" ".join(seen.place.keys)) or seen.kind not in _COUNTED:
        return None
    if not all(_ENUM_VALUE.fullmatch(value) and not _may_be_a_name(value) for value in distinct):
        return None
    return [value for value, count in distinct.most_common() if count >= ENUM_VALUE_MIN] or None


def _may_be_a_name(value: str) -> bool:
    """Say whether a value may be what somebody is called: words that begin and end in capitals, or as users are."""
    first, *rest = value.split()
    capitals = bool(rest) and first[0].isupper() and rest[-1][0].isupper()
    return capitals or bool(_INITIAL.fullmatch(value) or _USER.fullmatch(value))


def types_of(seen: Seen) -> dict[str, int]:
    """Count the values by their JSON type."""
    types: dict[str, int] = {}
    for kind, count in seen.kinds.items():
        name = JSON_TYPES.get(kind, "text")
        types[name] = types.get(name, 0) + count
    return types


def findings_of(seen: Seen, target: str = "") -> tuple[str, ...]:
    """Say what to mind about the values of a field: types, looks, spaces, capitals, gaps; of ``phone`` the region."""
    found: list[str] = []
    types = types_of(seen)
    if len(types) > 1:
        shares = ", ".join(f"{name} in {count}" for name, count in sorted(types.items(), key=lambda one: -one[1]))
        found.append(f"mixed types: {shares}")
    looks = [kind for kind, count in seen.kinds.items() if count != seen.records]
    if len(looks) > 1 and len(types) == 1 and not set(looks) <= PHONES | WORDS:
        shares = ", ".join(f"{kind.value} in {count}" for kind, count in seen.kinds.most_common())
        found.append(f"not all look alike: {shares}")
    if seen.spaced:
        found.append(f"spaces around it in {seen.spaced}")
    if seen.mixed_case:
        found.append(f"capitals in {seen.mixed_case}")
    if target == "phone" and seen.numbers_with_plus < seen.records and len(seen.regions) != 1:
        found.append("numbers without +: write {e164: REGION} with the region that they are of")
    if seen.empty:
        found.append(f"null or blank in {seen.empty}")
    return tuple(found)
