"""From what was seen to rules: the best path of each target, and what else may be worth a custom attribute; pure."""

import re
from dataclasses import dataclass
from typing import Any, Final

from service.mapping.targets import CUSTOM_TEXT_MAX
from service.operations.suggest.findings import CLEARLY, enum_values, findings_of, types_of
from service.operations.suggest.names import FULL_NAME, SYNONYMS, readable, score, score_by
from service.operations.suggest.places import parsed
from service.operations.suggest.shapes import PHONES, TIMES, WORDS, Kind
from service.operations.suggest.survey import Seen, Survey

COVERAGE_MIN: Final = 0.05
"""Of the records, for a custom attribute to be worth naming."""
LABELLED_MIN: Final = 3
LABELLED_SHARE: Final = 0.2
"""How many of the records, and which share, must have a label before it is written down: it may be a person's own."""
COVERAGE_WORTH: Final = 60
"""What it counts that all records have a field, where an exact name counts 100."""
CUSTOM_MAX: Final = 60
"""Further fields that are named, those of most records first."""
NOTES_MAX: Final = 2_000

_LOOKS: Final = {
    "email": frozenset({Kind.EMAIL}),
    "phone": PHONES,
    "linked_in": frozenset({Kind.LINKED_IN}),
    "twitter": frozenset({Kind.TWITTER, Kind.TEXT}),
    "last_seen": TIMES,
}
"""What most values of a target look like, words where it does not say."""
_SKIPPING: Final = frozenset({"phone", "linked_in", "last_seen"})
"""Targets whose transforms not every value fits."""
_SALUTATIONS: Final = frozenset({"mr", "mrs", "ms", "miss", "mx", "dr", "prof", "herr", "frau", "mme", "mlle", "m"})
_LABEL: Final = re.compile(r"\[\?(\w+)=")
_FREE_LABELS: Final = frozenset({"label", "type", "kind"})
"""Labels of a kind of thing, which no person is called by."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """One rule: its target as ``Mapped.fields`` has it, what was seen where it reads, and what to mind about it."""

    target: str
    seen: Seen
    rule: str | dict[str, Any]
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Proposals:
    """The mapping that is proposed, and further fields that may be worth a custom attribute."""

    standard: tuple[Proposal, ...]
    custom: tuple[Proposal, ...]


def propose(survey: Survey) -> Proposals:
    """Choose a path for each target that one fits, and list what is left."""
    usable = [seen for seen in survey.seen.values() if seen.records and _may_be_named(seen, survey.records)]
    usable = [seen for seen in usable if parsed(seen.place) is not None]
    taken: dict[str, Seen] = {}
    for target in SYNONYMS:
        free = [seen for seen in usable if seen not in taken.values()]
        best = max(free, key=lambda seen: (_worth(target, seen, survey.records), seen.place.path), default=None)
        if best is not None and _worth(target, best, survey.records) > 0:
            taken[target] = best
    standard = [
        Proposal(
            target,
            seen,
            _rule(seen, _steps_for(target, seen), skips=target in _SKIPPING),
            findings_of(seen, target),
        )
        for target, seen in taken.items()
    ]
    standard += _of_full_name(usable, taken)
    order = list(SYNONYMS)
    standard.sort(key=lambda one: order.index(one.target))
    return Proposals(tuple(standard), tuple(_custom(usable, [one.seen for one in standard], survey.records)))


def _may_be_named(seen: Seen, records: int) -> bool:
    """Say whether a path gives away nobody: a label in it is written down only where many records share it."""
    labels = set(_LABEL.findall(seen.place.path))
    return labels <= _FREE_LABELS or seen.records >= max(LABELLED_MIN, LABELLED_SHARE * records)


def _worth(target: str, seen: Seen, records: int) -> float:
    """Say how well a field fits a target; 0 or less for not at all."""
    if not _looks_like(target, seen):
        return 0
    shaped = {"email": (Kind.EMAIL,), "linked_in": (Kind.LINKED_IN,)}.get(target)
    by_shape = 40 if shaped is not None and seen.share(*shaped) > 1 - COVERAGE_MIN else 0
    named = max(score(target, seen.place.keys), by_shape)
    path = seen.place.path
    return (
        0
        if named <= 0
        else named
        + COVERAGE_WORTH * seen.records / records
        - 3 * len(seen.place.keys)
        - 2 * path.count("[0]")
        - path.count("=")
    )


def _looks_like(target: str, seen: Seen) -> bool:
    fits = _LOOKS.get(target, WORDS)
    return seen.share(*fits) > CLEARLY and not (target == "title" and _is_salutation(seen))


def _is_salutation(seen: Seen) -> bool:
    return seen.distinct is not None and all(value.lower().strip(". ") in _SALUTATIONS for value in seen.distinct)


def _of_full_name(usable: list[Seen], taken: dict[str, Seen]) -> list[Proposal]:
    """Split the full name where the names do not stand by themselves."""
    missing = [target for target in ("first_name", "last_name") if target not in taken]
    names = [seen for seen in usable if score_by(FULL_NAME, seen.place.keys) > 0 and seen.share(*WORDS) > CLEARLY]
    names = [seen for seen in names if seen not in taken.values()]
    best = max(names, key=lambda seen: (seen.records, score_by(FULL_NAME, seen.place.keys)), default=None)
    if best is None:
        return []
    steps = {"first_name": "split_first", "last_name": "split_rest"}
    told = ("the full name, split after its first word",)
    return [Proposal(target, best, _rule(best, [steps[target]], skips=False), told) for target in missing]


def _steps_for(target: str, seen: Seen) -> list[Any]:
    match target:
        case "email":
            return [*_trim(seen), "lower"]
        case "phone":
            region = next(iter(seen.regions)) if len(seen.regions) == 1 else ""
            return [{"e164": region} if region and seen.numbers_with_plus < seen.records else "e164"]
        case "linked_in":
            return ["url"]
        case "last_seen":
            return ["to_datetime"]
        case "notes":
            html = ["strip_html"] if seen.share(Kind.HTML) else _trim(seen)
            return [*html, {"truncate": NOTES_MAX}] if seen.longest > NOTES_MAX else html
        case _:
            return _trim(seen)


def _trim(seen: Seen) -> list[Any]:
    return ["trim"] if seen.spaced else []


def _rule(seen: Seen, steps: list[Any], *, skips: bool) -> str | dict[str, Any]:
    """Write a rule as short as it can be. ``skips`` is for transforms that not every value fits."""
    if not steps:
        return seen.place.path
    rule: dict[str, Any] = {"from": seen.place.path, "transform": steps}
    return rule | {"on_error": "skip"} if skips else rule


def _custom(usable: list[Seen], used: list[Seen], records: int) -> list[Proposal]:
    paths = {seen.place.path: seen for seen in usable}
    known = {_whole(seen) for seen in used}
    names: set[str] = set()
    made: list[Proposal] = []
    for seen in sorted(usable, key=lambda one: (-one.records, one.place.path)):
        if seen in used or _whole(seen) in known or seen.records < COVERAGE_MIN * records or _repeats(seen, paths):
            continue
        name = _unlike(readable(seen.place.keys, seen.place.path), names)
        names.add(name)
        made.append(Proposal(f"custom.{name}", seen, _custom_rule(seen), findings_of(seen)))
        if len(made) == CUSTOM_MAX:
            break
    return made


def _whole(seen: Seen) -> str:
    """Return the path but for which item of a list it takes: of emails that are mapped, no further one is named."""
    return re.sub(r"\[[^\]]*\]", "[]", seen.place.path)


def _repeats(seen: Seen, paths: dict[str, Seen]) -> bool:
    """Say whether another path gives the same: the whole list, or the chief one of it."""
    path = seen.place.path
    if seen.place.first:
        return True
    return "[0]" in path and any(other != path and _whole(paths[other]) == _whole(seen) for other in paths)


def _unlike(name: str, names: set[str]) -> str:
    return next(one for one in (name, *(f"{name} {number}" for number in range(2, len(names) + 3))) if one not in names)


def _custom_rule(seen: Seen) -> str | dict[str, Any]:
    if (values := enum_values(seen)) is not None and seen.kind not in {Kind.BOOLEAN, Kind.LIST}:
        return {"from": seen.place.path, "map": {value: value for value in values}, "on_error": "skip"}
    if seen.share(*TIMES) > CLEARLY:
        step = "to_date" if seen.kind is Kind.DATE else "to_datetime"
        return _rule(seen, [step], skips=True)
    steps: list[Any] = ["join"] if seen.share(Kind.LIST) else []
    steps += ["strip_html"] if seen.share(Kind.HTML) else _trim(seen)
    if not steps and len(types_of(seen)) > 1:
        steps = ["to_string"]
    return _rule(
        seen, [*steps, {"truncate": CUSTOM_TEXT_MAX}] if seen.longest > CUSTOM_TEXT_MAX else steps, skips=False
    )
