"""One target field: from the record, step by step, to the value that ChartMogul shall hold, with the trace of it."""

from collections.abc import Callable, Mapping
from typing import Final

from service.mapping.condition import Condition, any_changed
from service.mapping.spec import RuleSpec
from service.mapping.targets import fit_for
from service.mapping.transforms import TRANSFORMS
from service.mapping.values import Empty, MappingError, emptiness, join_texts, not_scalar
from service.model import MISSING, Change, Json, Missing, Step, Trace
from service.paths import Path, as_text, is_scalar

Reader = Callable[[Change], tuple[str | None, Json | Missing]]
"""Return the path that was read and what stood there."""

_BY_WORTH: Final = (Empty.NULL, Empty.BLANK, Empty.MISSING)
"""Of several paths without a value, the one speaks for all whose emptiness says most."""


class Rule:
    """A rule ready to run. Total: every fault ends in its trace."""

    def __init__(self, target: str, spec: RuleSpec) -> None:
        self.target = target
        self._read = _reader(spec)
        self._separator = spec.separator if spec.concat else None
        self._transforms = tuple((step.name, TRANSFORMS[step.name].bind(step.argument)) for step in spec.transform)
        self._table = spec.map
        self._default: Json | Missing = spec.default if "default" in spec.model_fields_set else MISSING
        self._when = Condition(spec.when) if spec.when else None
        self._changed = any_changed(spec.paths) if spec.only_if_changed else None
        self._on_empty = {Empty.MISSING: "skip", Empty.NULL: spec.on_null, Empty.BLANK: spec.on_blank}
        self._on_error = spec.on_error
        self._fit = fit_for(target)
        self.paths = (*spec.paths, *(self._when.paths if self._when else ()))

    def run(self, change: Change) -> Trace:
        """Return how the target got its value from the change, or why it got none."""
        if self._when is not None and not self._when.holds(change):
            return Trace(self.target, None, MISSING, (), "skip", None, "when does not hold")
        if self._changed is not None and not self._changed(change):
            return Trace(self.target, None, MISSING, (), "skip", None, "not changed")
        path, raw = self._read(change)
        steps: list[Step] = []
        try:
            value = self._make(raw, steps)
            if value is MISSING:
                return self._without(Empty.MISSING, path, raw, steps)
            if empty := emptiness(value):
                return self._without(empty, path, raw, steps)
            return Trace(self.target, path, raw, tuple(steps), "set", self._fit(value))
        except MappingError as error:
            return Trace(self.target, path, raw, tuple(steps), self._on_error, None, str(error))

    def _make(self, value: Json | Missing, steps: list[Step]) -> Json | Missing:
        """Join, transform and look up, until nothing is left or nothing is to do."""
        if self._separator is not None and isinstance(value, list):
            value = join_texts(value, self._separator)
            steps.append(Step("concat", value))
        for name, transform in self._transforms:
            if value is MISSING or emptiness(value):
                break
            value = transform(value)
            steps.append(Step(name, value))
        if self._table is None:
            if self._default is not MISSING and emptiness(value):
                steps.append(Step("default", self._default))
                return self._default
            return value
        return value if value is MISSING or emptiness(value) else self._look_up(value, self._table, steps)

    def _look_up(self, value: Json, table: Mapping[str, Json], steps: list[Step]) -> Json:
        """Return the table's entry for the value's text, else the default; MappingError where there is neither."""
        if not is_scalar(value):
            raise MappingError(f"map: {not_scalar(value)}")
        if (key := as_text(value)) in table:
            steps.append(Step("map", table[key]))
            return table[key]
        if self._default is MISSING:
            raise MappingError("map: found a value without an entry; add one, or a default")
        steps.append(Step("default", self._default))
        return self._default

    def _without(self, empty: Empty, path: str | None, raw: Json | Missing, steps: list[Step]) -> Trace:
        return Trace(self.target, path, raw, tuple(steps), self._on_empty[empty], None, empty.value)


def _reader(spec: RuleSpec) -> Reader:
    if spec.concat:
        return _read_all(spec)
    if not spec.from_:
        return lambda _: (None, spec.const)
    return _read_one(spec.from_[0]) if len(spec.from_) == 1 else _read_first(spec.from_)


def _read_one(path: Path) -> Reader:
    text, read = path.text, path.read
    return lambda change: (text, read(change))


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
