"""One target field: from the record, step by step, to the value that ChartMogul shall hold, with the trace of it."""

from collections.abc import Callable, Iterator
from typing import Final

from service.mapping.condition import Condition, Test, any_changed
from service.mapping.spec import RuleSpec
from service.mapping.targets import fit_for
from service.mapping.transforms import TRANSFORMS
from service.mapping.values import Empty, MappingError, emptiness, join_texts, not_scalar
from service.model import MISSING, Change, Json, Missing, Step, Trace
from service.paths import Path, as_text, is_scalar

NOT_HELD: Final = "when does not hold"
NOT_CHANGED: Final = "only_if_changed: the change does not list it as changed"
NO_ENTRY: Final = "map: found a value without an entry; add one, or a default"
SKIPPED: Final = "; on_error: skip"
NOTHING: Final = "missing: the record has nothing at this path"
NOTHING_AT_ALL: Final = "missing: the record has no value at any of these paths"

_new: Final = tuple.__new__
"""Makes a named tuple in half the time of its own constructor, where most of them are made."""
Reader = Callable[[Change], tuple[str | None, Json | Missing]]
"""Return the path that was read and what stood there."""

_BY_WORTH: Final = (Empty.NULL, Empty.BLANK, Empty.MISSING)
"""Of several paths without a value, the one speaks for all whose emptiness says most."""


class Rule:
    """A rule ready to run. Total: every fault ends in its trace."""

    def __init__(self, target: str, spec: RuleSpec) -> None:
        self.target = target
        self.paths = (*spec.paths, *(spec.when.paths if spec.when else ()))
        self._asked = tuple(_questions(spec))
        self._read = _reader(spec)
        self._separator = spec.separator if spec.concat else None
        self._transforms = tuple((step.name, TRANSFORMS[step.name].bind(step.argument)) for step in spec.transform)
        self._table = spec.map
        self._default = spec.default
        self._has_default = "default" in spec.model_fields_set
        self._is_plain = self._table is None and not self._has_default
        self._is_direct = self._is_plain and not spec.concat and not spec.transform
        self._on_empty = {Empty.NULL: ("on_null", spec.on_null), Empty.BLANK: ("on_blank", spec.on_blank)}
        self._on_error = spec.on_error
        self._source = "record" if spec.paths else "rule"
        self._nothing = NOTHING if len(spec.paths) == 1 else NOTHING_AT_ALL
        self._fit = fit_for(target)

    def run(self, change: Change) -> Trace:
        """Return how the target got its value from the change, or why it got none."""
        for holds, reason in self._asked:
            if not holds(change):
                return Trace(self.target, None, MISSING, (), "skip", None, reason)
        path, raw = self._read(change)
        steps: list[Step] = []
        try:
            value = raw if self._is_direct else self._make(raw, steps)
            if value is MISSING or emptiness(value):
                return self._without(value, path, raw, steps)
            return _new(Trace, (self.target, path, raw, tuple(steps), "set", self._fit(value), None))
        except MappingError as error:
            reason = str(error) if self._on_error == "fail" else f"{error}{SKIPPED}"
            return Trace(self.target, path, raw, tuple(steps), self._on_error, None, reason)

    def _make(self, value: Json | Missing, steps: list[Step]) -> Json | Missing:
        """Join, transform and look up, until nothing is left or nothing is to do."""
        if self._separator is not None and isinstance(value, list):
            value = join_texts(value, self._separator)
            steps.append(Step("concat", value))
        for name, transform in self._transforms:
            if value is MISSING or emptiness(value) is not None:
                break
            value = transform(value)
            steps.append(_new(Step, (name, value)))
        return value if self._is_plain else self._look_up(value, steps)

    def _look_up(self, value: Json | Missing, steps: list[Step]) -> Json | Missing:
        """Return the table's entry for the value's text, or what stands in for a value without one."""
        if self._table is None:
            return self._stand_in(steps) if value is MISSING or emptiness(value) else value
        if value is MISSING or emptiness(value):
            return value
        if not is_scalar(value):
            raise MappingError(f"map: {not_scalar(value)}")
        if (key := as_text(value)) in self._table:
            steps.append(Step("map", self._table[key]))
            return self._table[key]
        if not self._has_default:
            raise MappingError(NO_ENTRY)
        return self._stand_in(steps)

    def _stand_in(self, steps: list[Step]) -> Json:
        steps.append(Step("default", self._default))
        return self._default

    def _without(self, value: Json | Missing, path: str | None, raw: Json | Missing, steps: list[Step]) -> Trace:
        """Say why there is no value, and by which key of the rule the field is left alone or cleared."""
        empty = emptiness(value)
        if empty is None or empty is Empty.MISSING:
            return Trace(self.target, path, raw, tuple(steps), "skip", None, self._nothing)
        key, result = self._on_empty[empty]
        place = f"after {steps[-1].name}" if steps else f"in the {self._source}"
        return Trace(self.target, path, raw, tuple(steps), result, None, f"{empty} {place}; {key}: {result}")


def _questions(spec: RuleSpec) -> Iterator[tuple[Test, str]]:
    """What must hold so that the rule is run, each with the reason if it does not."""
    if spec.when:
        yield Condition(spec.when).holds, NOT_HELD
    if spec.only_if_changed:
        yield any_changed(spec.paths), NOT_CHANGED


def _reader(spec: RuleSpec) -> Reader:
    if spec.concat:
        return _read_all(spec)
    if not spec.from_:
        return lambda _: (None, spec.const)
    return _read_one(spec.from_[0]) if len(spec.from_) == 1 else _read_first(spec.from_)


def _read_one(path: Path) -> Reader:
    text, read, field = path.text, path.read, path.head
    if field is None or path.steps != (field,):
        return lambda change: (text, read(change))
    return lambda change: (text, change.values.get(field, MISSING))  # the usual path is a field of the record


def _read_first(paths: tuple[Path, ...]) -> Reader:
    def first(change: Change) -> tuple[str | None, Json | Missing]:
        without: dict[Empty, tuple[str | None, Json | Missing]] = {}
        for path in paths:
            value = path.read(change)
            if (empty := emptiness(value)) is None:
                return path.text, value
            without.setdefault(empty, (path.text, value))
        return next(without[empty] for empty in _BY_WORTH if empty in without)

    return first


def _read_all(spec: RuleSpec) -> Reader:
    """Read the parts of a concat; MISSING if none of its paths has a value, whatever the constants between say."""
    label = " + ".join(path.text for path in spec.paths)

    def parts(change: Change) -> tuple[str | None, Json | Missing]:
        found: list[Json] = []
        any_value = False
        for part in spec.concat:
            if not isinstance(part, Path):
                found.append(part.const)
            elif (value := part.read(change)) is not MISSING and emptiness(value) is None:
                found.append(value)
                any_value = True
        return label, found if any_value else MISSING

    return parts
