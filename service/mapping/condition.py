"""Whether a change is one that a filter or a rule speaks of."""

from collections.abc import Callable, Iterable, Iterator

from service.mapping.spec import ConditionSpec
from service.model import MISSING, Change, Json, Missing
from service.paths import Path, as_text, is_scalar

Test = Callable[[Change], bool]


class Condition:
    """A condition ready to be asked. Total: it holds or not, whatever the change is.

    ``equals`` and ``in`` compare as text, null with null alone; a list fits if one of its items does. ``exists`` means
    neither absent nor null. ``changed`` goes by the change's own list of fields; without one, everything may have
    changed and it holds.
    """

    def __init__(self, spec: ConditionSpec) -> None:
        self.spec = spec
        self.paths = spec.paths
        self._test = _compile(spec)

    def holds(self, change: Change) -> bool:
        """Say whether the change fits."""
        return self._test(change)


def any_changed(paths: Iterable[Path]) -> Test:
    """The test that one of the record's paths changed, or that nobody knows what did."""
    names = [(frozenset(_prefixes(path)), ".".join(path.keys) + ".") for path in paths if path.head is not None]

    def test(change: Change) -> bool:
        changed = change.changed_fields
        if changed is None:
            return True
        return any(field in whole or field.startswith(part) for field in changed for whole, part in names)

    return test


def _prefixes(path: Path) -> Iterator[str]:
    """Every name under which a change of the path may be listed: its field, or any object on the way to it."""
    for length in range(1, len(path.keys) + 1):
        yield ".".join(path.keys[:length])


def _compile(spec: ConditionSpec) -> Test:
    if spec.field is not None:
        return _compile_field(spec, spec.field)
    if spec.not_ is not None:
        inner = _compile(spec.not_)
        return lambda change: not inner(change)
    tests = [_compile(part) for part in (*spec.all_, *spec.any_)]
    if spec.all_:
        return lambda change: all(test(change) for test in tests)
    return lambda change: any(test(change) for test in tests)


def _compile_field(spec: ConditionSpec, path: Path) -> Test:
    if spec.exists is not None:
        exists = spec.exists
        return lambda change: (path.read(change) not in (MISSING, None)) is exists
    if spec.changed is not None:
        wanted, test = spec.changed, any_changed((path,))
        return lambda change: test(change) is wanted
    allowed = spec.in_ or (spec.equals,)
    texts = frozenset(as_text(value) for value in allowed if value is not None)
    null = None in allowed

    def fits(value: Json | Missing) -> bool:
        if value is None:
            return null
        return value is not MISSING and is_scalar(value) and as_text(value) in texts

    def test_value(change: Change) -> bool:
        value = path.read(change)
        return any(fits(item) for item in value) if isinstance(value, list) else fits(value)

    return test_value
