"""What a configuration may mean otherwise than its writer thinks: right as it stands, and worth a second look.

Pure. Each warning has a name, a place, a cause and a hint. It repeats names of keys, and no value of any.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from pydantic import BaseModel, SecretStr

from service.config.yaml_file import Document, KeyPath, written
from service.mapping.spec import RuleSpec
from service.mapping.targets import CUSTOM_PREFIX, fit_for
from service.mapping.values import MappingError, emptiness
from service.model import Json
from service.pipeline import ConfiguredSource

NAMES: Final = (
    "attribute_never_seen",
    "constants_differ",
    "email_not_lower",
    "entry_out_of_reach",
    "external_id_mapped",
    "literal_secret",
    "path_twice",
    "position_mapped",
    "table_without_default",
    "transform_without_effect",
    "value_not_taken",
)
"""Every warning there is."""
CASES: Final = frozenset({"lower", "upper", "title"})
"""Transforms that each undo the others."""
ONCE: Final = frozenset({*CASES, "trim", "strip_html", "to_int", "to_number", "to_bool", "to_string", "e164", "url"})
"""Transforms that change nothing when they are done a second time."""

_MADE: Final[Mapping[str, Callable[[str], str]]] = {"lower": str.lower, "upper": str.upper, "trim": str.strip}
"""What is left of a table's entry by the transform before it."""


@dataclass(frozen=True, slots=True)
class ConfigWarning:
    """One thing worth a second look: where it stands, what may come of it, and what to write instead."""

    name: str
    where: str
    path: str
    cause: str
    hint: str

    def __str__(self) -> str:
        return f"{self.where}: {self.path}: {self.cause}; {self.hint} ({self.name})"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a rule stands: ``file:line:column``, and its path in the file."""

    where: str
    path: str


@dataclass(frozen=True, slots=True)
class _Written:
    """A rule where it stands in the file."""

    path: KeyPath
    target: str
    spec: RuleSpec
    account: str


def warnings_of(document: Document, sources: Mapping[str, ConfiguredSource]) -> tuple[ConfigWarning, ...]:
    """Return what a right file and its sources warn of, in the order of the file. What a preset brings is not meant."""
    rules = [rule for name, configured in sources.items() for rule in _rules(document, name, configured)]
    found = [warning for rule in rules for warning in _of_rule(document, rule)]
    found += _of_constants(document, rules)
    for name, configured in sources.items():
        found += _of_secrets(document, name, configured)
    once = {(warning.name, warning.where): warning for warning in reversed(found)}  # a block may be used many times
    return tuple(sorted(once.values(), key=lambda warning: _place(warning.where)))


def places_of(document: Document, sources: Mapping[str, ConfiguredSource]) -> dict[tuple[str, str], Place]:
    """Return where the rules of each source's mapping stand, by source and target; a preset's own have no place."""
    return {
        (name, rule.target): Place(document.where(rule.path, key=True), written(rule.path))
        for name, configured in sources.items()
        for rule in _rules(document, name, configured)
        if rule.path[2] == "mapping"
    }


def never_seen(
    places: Mapping[tuple[str, str], Place],
    sources: Mapping[str, ConfiguredSource],
    seen: Mapping[str, frozenset[str]],
) -> tuple[ConfigWarning, ...]:
    """Return a warning for each custom attribute that ChartMogul has never shown.

    ``seen`` holds the attributes that it has shown, by account, of those accounts of which any contact was seen.
    """
    cause = "no contact that ChartMogul returned ever had this attribute, and it drops those that it does not know"
    hint = "see that it is defined for contacts in ChartMogul, spelt as here"
    return tuple(
        ConfigWarning("attribute_never_seen", place.where, place.path, cause, hint)
        for (name, target), place in places.items()
        if target.startswith(CUSTOM_PREFIX)
        and sources[name].account in seen
        and target.removeprefix(CUSTOM_PREFIX) not in seen[sources[name].account]
    )


def _rules(document: Document, name: str, configured: ConfiguredSource) -> Iterator[_Written]:
    """Yield the rules of a source that stand in the file."""
    parts = {"mapping": configured.rules.mapping, "on_deleted": configured.rules.deleted}
    for part, mapping in parts.items():
        for target, spec in () if mapping is None else mapping.spec.rules():
            custom = target.startswith(CUSTOM_PREFIX)
            keys = ("custom", target.removeprefix(CUSTOM_PREFIX)) if custom else (target,)
            path: KeyPath = ("sources", name, part, *keys)
            if path in document.positions:
                yield _Written(path, target, spec, configured.account)


def _of_rule(document: Document, rule: _Written) -> Iterator[ConfigWarning]:
    if rule.target == "email":
        yield from _of_email(document, rule)
    if rule.target == "position":
        cause = "position is the contact's rank on its customer's page, which no two contacts should share"
        yield _warning(document, rule.path, "position_mapped", cause, "leave it out; ChartMogul numbers new contacts")
    if rule.target == "external_id":
        cause = "external_id is the contact's id in a system of your own, and what stands there is written over"
        hint = "leave it out unless nothing else finds contacts by it; a custom attribute can hold the CRM's id"
        yield _warning(document, rule.path, "external_id_mapped", cause, hint)
    yield from _of_paths(document, rule)
    yield from _of_transforms(document, rule)
    yield from _of_table(document, rule)
    yield from _of_fixed(document, rule)


def _of_email(document: Document, rule: _Written) -> Iterator[ConfigWarning]:
    if not rule.spec.paths or rule.spec.map is not None or "lower" in {step.name for step in rule.spec.transform}:
        return
    cause = "the email goes out with the capitals and blanks of the CRM, and is another text to whoever looks it up"
    yield _warning(document, rule.path, "email_not_lower", cause, "write {from: …, transform: [trim, lower]}")


def _of_paths(document: Document, rule: _Written) -> Iterator[ConfigWarning]:
    texts = [path.text for path in rule.spec.from_]
    for index, text in enumerate(texts):
        if text in texts[:index]:
            cause, hint = "an earlier path is the same, so this one is never read", "take it out, or mend it"
            yield _warning(document, (*rule.path, "from", index), "path_twice", cause, hint)


def _of_transforms(document: Document, rule: _Written) -> Iterator[ConfigWarning]:
    for index, (step, following) in enumerate(pairwise(rule.spec.transform)):
        again = step == following and step.name in ONCE
        if again or {step.name, following.name} <= CASES:
            cause, hint = f"{step.name} has no effect, since {following.name} comes right after it", "take one out"
            path = (*rule.path, "transform", index)
            yield _warning(document, path, "transform_without_effect", cause, hint)


def _of_table(document: Document, rule: _Written) -> Iterator[ConfigWarning]:
    spec = rule.spec
    if spec.map is None:
        return
    if not spec.model_fields_set & {"default", "on_error"}:
        cause = "a value without an entry keeps the whole change from ChartMogul, as a dead letter"
        hint = "add a default or on_error: skip; or on_error: fail, if that is meant"
        yield _warning(document, (*rule.path, "map"), "table_without_default", cause, hint)
    last = spec.transform[-1].name if spec.transform else ""
    made = _MADE.get(last)
    for key in spec.map:
        if made is not None and made(key) != key:
            cause = f"no value can have this entry's text, since {last} comes before the table"
            hint = f"write the entry as {last} leaves it"
            yield _warning(document, (*rule.path, "map", key), "entry_out_of_reach", cause, hint)


def _of_fixed(document: Document, rule: _Written) -> Iterator[ConfigWarning]:
    """Warn of values in the file that the field does not take: whoever gets one is not brought up to date."""
    fits = fit_for(rule.target)
    for key, value in _fixed(rule.spec):
        try:
            fits(value)
        except MappingError as error:
            cause = f"{rule.target} does not take this value, which ends as an error: {error}"
            yield _warning(document, (*rule.path, *key), "value_not_taken", cause, "write one that it takes")


def _fixed(spec: RuleSpec) -> Iterator[tuple[KeyPath, Json]]:
    """Yield the values that a rule sends as they stand in the file, each with its key. What is empty is none."""
    if not spec.transform and spec.map is None:
        yield from _unless_empty(("const",), spec.const)
    yield from _unless_empty(("default",), spec.default)
    for key, value in (spec.map or {}).items():
        yield from _unless_empty(("map", key), value)


def _unless_empty(key: KeyPath, value: Json) -> Iterator[tuple[KeyPath, Json]]:
    if emptiness(value) is None:
        yield key, value


def _of_constants(document: Document, rules: list[_Written]) -> Iterator[ConfigWarning]:
    """Warn of sources that set one field of the same account's contacts to different fixed values."""
    first: dict[tuple[str, str, KeyPath], _Written] = {}
    for rule in rules:
        if "const" in rule.spec.model_fields_set:
            before = first.setdefault((rule.account, rule.target, rule.path[2:3]), rule)
            if before.spec.const != rule.spec.const and before.path[1] != rule.path[1]:
                cause = f"the source {before.path[1]} sets another fixed value: people in both change to and fro"
                hint = "give each source a field of its own, or take one out"
                yield _warning(document, rule.path, "constants_differ", cause, hint)


def _of_secrets(document: Document, name: str, configured: ConfiguredSource) -> Iterator[ConfigWarning]:
    auth, reader = configured.source.auth, configured.reader
    spec = None if reader is None else reader.spec
    parts = {"auth": auth, "verify": getattr(auth, "verify", None), "read_back": spec}
    for key, part in parts.items():
        for path in dict.fromkeys(_secrets(document, part, ("sources", name, key))):
            if path not in document.substituted:
                words = [str(word) for word in (name, *path[3:]) if not isinstance(word, int)]
                variable = "_".join(words).upper().replace("-", "_")
                hint = f"write ${{{variable}}}, and set that in the environment or as a file in SECRETS_DIR"
                cause = "a secret stands in the file for all who can read it, and in its history"
                yield _warning(document, path, "literal_secret", cause, hint)


def _secrets(document: Document, value: object, path: KeyPath) -> Iterator[KeyPath]:
    """Yield the places of secrets in the file; one that is not in a list stands in its list's own place."""
    if isinstance(value, SecretStr):
        yield path if path in document.positions else path[:-1]
    elif isinstance(value, BaseModel) and path in document.positions:
        for key, info in type(value).model_fields.items():
            yield from _secrets(document, getattr(value, key), (*path, info.alias or key))
    elif isinstance(value, tuple):
        for index, inner in enumerate(value):
            yield from _secrets(document, inner, (*path, index))


def _warning(document: Document, path: KeyPath, name: str, cause: str, hint: str) -> ConfigWarning:
    at = document.written_at(path)  # in a definition, where the rule has it from there
    return ConfigWarning(name, document.where(at, key=_is_key(document, at)), written(at), cause, hint)


def _is_key(document: Document, path: KeyPath) -> bool:
    """Say whether what is meant is the key rather than its value: a whole rule, or a table's entry."""
    return path in document.positions and path[-2:-1] in {("mapping",), ("on_deleted",), ("custom",), ("map",)}


def _place(where: str) -> tuple[int, int]:
    _, line, column = where.rsplit(":", 2)
    return int(line), int(column)
