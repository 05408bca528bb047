"""YAML text → plain values, and the line and column of every one of them; nothing of YAML that surprises.

Text stays text: dates, ``yes``, ``no``, ``on``, ``off``, ``12:30`` and numbers with a leading zero are not converted.
Plain ``true``, ``false``, ``null``, ``~``, whole numbers and decimal numbers are what they look like. A key is always
the text as written, so that ``1: Lead`` has the key ``"1"``. Aliases may share a block; tags, ``<<``, a key given
twice, NaN, infinities and a second document are refused.

``${NAME}`` in a value stands for a variable and is always text; ``$${`` stands for ``${``.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias, cast

import yaml

from service.config.variables import NAME
from service.errors import Fault
from service.model import Json

BYTES_MAX: Final = 1024 * 1024
"""Size of the file."""
NODES_MAX: Final = 20_000
"""Values and keys in the file, each alias counted as often as it is used."""
DEPTH_MAX: Final = 64
"""Nesting of lists and mappings."""

KeyPath: TypeAlias = tuple[str | int, ...]

_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_DECIMAL: Final = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE: Final = re.compile(r"[-+]?\.inf|\.nan", re.IGNORECASE)
_WORDS: Final[dict[str, Json]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_QUOTED: Final = re.compile(r"'([^']*)'")
_HELP: Final = (
    ("quotes that are", "YAML; close the quotes, or put the text in quotes of the other kind"),
    ("expected <block end>", "YAML; each key as far in as its neighbours, and what stands below one further in"),
    (r"got '\['", "YAML; put a path with [ ] in quotes inside {…} and […]"),
    ("cannot start any token", "YAML; put text that starts with a sign of YAML's own in quotes"),
    (
        "mapping values are not allowed|got ':'",
        "a line for each 'key: value', a blank after the colon, indented as its neighbours; text with ': ' in quotes",
    ),
)
"""What mends broken syntax, by the parser's words for it."""
_INTEGER_BITS: Final = 63
_DIGITS_MAX: Final = 20
_REFERENCE: Final = re.compile(r"\$\$\{|\$\{(?:(" + NAME.pattern + r")\})?")


@dataclass(frozen=True, slots=True)
class Position:
    """Where a value and its key stand; the key of a list's entry is the entry. Lines and columns count from 1."""

    key: tuple[int, int]
    value: tuple[int, int]


@dataclass(slots=True)
class Document:
    """A file read: its value, the same before ``${NAME}`` was replaced, and where everything stands.

    ``elsewhere`` names what counts at a path and was written at another.
    """

    name: str
    value: Json = field(default=None, repr=False)
    unresolved: Json = field(default=None, repr=False)
    positions: dict[KeyPath, Position] = field(default_factory=dict, repr=False)
    substituted: dict[KeyPath, str] = field(default_factory=dict)
    faults: list[tuple[KeyPath, Fault]] = field(default_factory=list)
    elsewhere: Mapping[KeyPath, KeyPath] = field(default_factory=dict)

    def written_at(self, path: KeyPath) -> KeyPath:
        """Return the path at which a value was written."""
        for length in range(len(path), 0, -1):
            if (at := self.elsewhere.get(path[:length])) is not None:
                return (*at, *path[length:])
        return path

    def where(self, path: KeyPath, *, key: bool = False) -> str:
        """Return ``file:line:column`` of a value, or of its key; of the nearest one around it where it is missing."""
        while path and path not in self.positions:
            path, key = path[:-1], True
        position = self.positions.get(path, Position((1, 1), (1, 1)))
        line, column = position.key if key else position.value
        return f"{self.name}:{line}:{column}"


def read_yaml(text: str, *, name: str, variable: Callable[[str], str | Fault]) -> Document:
    """Read YAML text. Never raises: what is wrong is in ``faults``, each with the path it belongs to.

    ``variable`` returns the text for a name, or the fault that it cannot be had; that fault is given its place here.
    """
    document = Document(name)
    try:
        _check_limits(text, name)
        root = yaml.compose(text, Loader=yaml.BaseLoader)
        if root is None:
            empty = Fault(f"{name}:1:1", "", "an empty file", "a mapping with the key 'sources'")
            document.faults.append(((), empty))
        else:
            document.value, document.unresolved = _Walk(document, variable).value(root, ())
    except _Refused as refused:
        document.positions.clear()
        document.faults.append(((), refused.fault))
    except yaml.MarkedYAMLError as error:
        document.faults.append(((), _syntax_fault(error, text, name)))
    except yaml.reader.ReaderError as error:
        where = _where(name, text, error.position)
        found = f"the character U+{ord(text[error.position]):04X}"
        document.faults.append(((), Fault(where, "", found, "printable text; write it as an escape in quotes")))
    return document


class _Refused(Exception):
    """Ends the reading early with a fault."""

    def __init__(self, fault: Fault) -> None:
        super().__init__()
        self.fault = fault


class _Walk:
    """One pass over the composed nodes, which makes both values and notes every position."""

    def __init__(self, document: Document, variable: Callable[[str], str | Fault]) -> None:
        self._document = document
        self._variable = variable
        self._nodes = 0

    def value(self, node: yaml.Node, path: KeyPath, key: yaml.Node | None = None) -> tuple[Json, Json]:
        self._nodes += 1
        if self._nodes > NODES_MAX or len(path) > DEPTH_MAX:
            limit = f"at most {NODES_MAX} values, {DEPTH_MAX} deep"
            raise _Refused(Fault(self._at(node), "", "aliases that make the file too large", limit))
        self._document.positions[path] = Position(_position(key or node), _position(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            pairs = [self.value(child, (*path, index)) for index, child in enumerate(node.value)]
            return [value for value, _ in pairs], [unresolved for _, unresolved in pairs]
        return self._scalar(cast("yaml.ScalarNode", node), path)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> tuple[Json, Json]:
        values: dict[str, Json] = {}
        unresolved: dict[str, Json] = {}
        lines: dict[str, int] = {}
        for key, child in node.value:
            word = _joined(key.value) if isinstance(key, yaml.ScalarNode) else None
            if word is None:
                found = f"{'half a character' if isinstance(key, yaml.ScalarNode) else 'a list or mapping'} as a key"
                self._refuse(path, key, found, "text as a key")
            elif word in values:
                self._refuse(
                    (*path, word), key, f"the key a second time (first in line {lines[word]})", "each key once"
                )
            elif word == "<<" and key.style is None:
                self._refuse(path, key, "the merge key '<<'", "keys written out, or an alias for a whole block")
            else:
                lines[word] = key.start_mark.line + 1
                values[word], unresolved[word] = self.value(child, (*path, word), key)
        return values, unresolved

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> tuple[Json, Json]:
        text = _joined(node.value)
        if text is None:
            self._refuse(path, node, "half a character (a lone surrogate)", "whole characters")
            return None, None
        if "${" in text:
            return self._substitute(node, text, path), text
        value = _plain(text) if node.style is None else text
        if isinstance(value, _NotANumber):
            self._refuse(path, node, value.found, value.allowed)
            return None, None
        return value, value

    def _substitute(self, node: yaml.ScalarNode, text: str, path: KeyPath) -> Json:
        names: list[str] = []

        def replacement(match: re.Match[str]) -> str:
            if match[0] == "$${":
                return "${"
            if match[1] is None:
                self._refuse(path, node, "'${' without a name and '}'", "${NAME}, or $${ for the characters ${")
                return ""
            names.append(match[1])
            found = self._variable(match[1])
            if isinstance(found, str):
                return found
            self._refuse(path, node, found.found, found.allowed, found.nearest)
            return ""

        value = _REFERENCE.sub(replacement, text)
        if names:
            self._document.substituted[path] = names[0]
        return value

    def _refuse(self, path: KeyPath, node: yaml.Node, found: str, allowed: str, nearest: str | None = None) -> None:
        self._document.faults.append((path, Fault(self._at(node), written(path), found, allowed, nearest)))

    def _at(self, node: yaml.Node) -> str:
        line, column = _position(node)
        return f"{self._document.name}:{line}:{column}"


def references(text: str) -> set[str]:
    """Return every NAME that a text mentions as ``${NAME}``, in comments too."""
    return {match[1] for match in _REFERENCE.finditer(text) if match[1] is not None}


def written(path: KeyPath) -> str:
    """Write a path as people do: ``sources.pipedrive.mapping.custom."Lead Score".from[1]``."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{_quoted(part)}" for part in path]
    return "".join(parts).removeprefix(".")


def shortened(text: str, *, length: int = 60) -> str:
    """Return the text in quotes on one line, shortened to at most 60 characters."""
    return repr(text if len(text) <= length else text[: length - 1] + "…")


def _quoted(key: str) -> str:
    return key if re.fullmatch(r"[\w$-]{1,60}", key) else '"' + shortened(key)[1:-1] + '"'


@dataclass(frozen=True, slots=True)
class _NotANumber:
    found: str
    allowed: str


def _plain(text: str) -> Json | _NotANumber:
    """Read a scalar without quotes."""
    if text in _WORDS:
        return _WORDS[text]
    if _NOT_FINITE.fullmatch(text):
        return _NotANumber("a number that is not finite", "a finite number, or text in quotes")
    if _INTEGER.fullmatch(text):
        if len(text) > _DIGITS_MAX or int(text).bit_length() > _INTEGER_BITS:
            return _NotANumber("a whole number beyond 64 bits", "a smaller number, or text in quotes")
        return int(text)
    if _DECIMAL.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else _NotANumber("a number out of range", "a number below 1.8e308")
    return text


def _check_limits(text: str, name: str) -> None:
    """Refuse what must not reach a recursive reader, and what has no meaning here."""
    depth = nodes = documents = 0
    for event in yaml.parse(text, Loader=yaml.BaseLoader):
        start = cast("yaml.Mark", event.start_mark)
        where = f"{name}:{start.line + 1}:{start.column + 1}"
        nodes += isinstance(event, yaml.NodeEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        documents += isinstance(event, yaml.DocumentStartEvent)
        if nodes > NODES_MAX or depth > DEPTH_MAX:
            raise _Refused(Fault(where, "", "a file too large", f"at most {NODES_MAX} values, {DEPTH_MAX} deep"))
        if documents > 1:
            raise _Refused(Fault(where, "", "a second document", "one document a file"))
        if getattr(event, "tag", None) is not None:
            raise _Refused(Fault(where, "", "a tag (a word that starts with '!')", "plain values; quotes make text"))


def _syntax_fault(error: yaml.MarkedYAMLError, text: str, name: str) -> Fault:
    mark = error.problem_mark or error.context_mark
    problem, context = error.problem or "", error.context or ""
    if error.context_mark is not None and "quoted scalar" in context:  # it ends anywhere, and began here
        mark, problem = error.context_mark, "quotes that are not closed"
    position = mark.index if mark else 0
    line = text[: position + 1].count("\n")
    around = "\n".join(text.split("\n")[max(0, line - 1) : line + 1])
    allowed = _what_helps(problem, around)
    if allowed == "YAML" and error.context_mark is not None and "flow" in context:
        allowed += f"; the {{ or [ that is not closed stands in line {error.context_mark.line + 1}"
    # The parser's own words name characters and constructs, but some quote an anchor, which may be a password with *.
    problem = _QUOTED.sub(lambda word: word[0] if _is_syntax(word[1]) else "…", problem)
    return Fault(_where(name, text, position), "", f"broken syntax ({problem})", allowed)


def _what_helps(problem: str, around: str) -> str:
    """Say what mends the mistakes that people make most."""
    if re.search(r"[\[{,:]\s*\$\{", around):
        return 'YAML; put "${NAME}" in quotes inside {…} and […]'
    if "\t" in around:
        return "YAML, indented by spaces, not tabs"
    return next((mends for pattern, mends in _HELP if re.search(pattern, problem)), "YAML")


def _is_syntax(word: str) -> bool:
    return len(word) < len("\\x00") or word.startswith("<")


def _where(name: str, text: str, index: int) -> str:
    before = text[:index]
    return f"{name}:{before.count(chr(10)) + 1}:{index - before.rfind(chr(10))}"


def _position(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _joined(text: str) -> str | None:
    """Return the text with escaped surrogate pairs, as JSON writes them, made one character; None if one is alone."""
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        return None
