"""The way out where paths and transforms do not reach: a JMESPath expression, guarded when the configuration is read.

JMESPath has no loops, no input but the value and no effect, but two of its forms multiply: a multi-select repeats the
whole of what it is given, a projection asks again for each item. So an expression is kept small when it is read, the
value small when it is given, and the steps are counted while it runs. Its language: https://jmespath.org
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Annotated, Any, Final

from jmespath.exceptions import EmptyExpressionError, IncompleteExpressionError, LexerError, ParseError
from jmespath.lexer import Lexer
from jmespath.parser import Parser
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from service.mapping.evaluation import FUNCTIONS, evaluate
from service.mapping.forms import fault
from service.mapping.values import TEXT_BYTES_MAX, MappingError, type_name
from service.model import Json
from service.paths import is_scalar, nearest

EXPRESSION_MAX: Final = 512
"""Characters of an expression."""
NODES_MAX: Final = 60
"""Nodes of the parsed expression: each name, index, literal, comparison and call is one or two."""
FLATTENS_MAX: Final = 1
"""``[]`` in an expression."""
PROJECTIONS_MAX: Final = 2
"""Forms that go through a list: ``[*]``, ``.*``, ``[?…]``, ``[]``, slices, ``map`` and the functions by a key."""
SELECTS_MAX: Final = 2
"""Multi-selects, ``[a, b]`` and ``{a: b}``."""
PIPES_MAX: Final = 2
"""Pipes in an expression with a multi-select."""
INPUT_MAX: Final = 256 * 1024
"""Characters of all texts and keys in the value that is given, every value counted as one more."""
RESULT_MAX: Final = 100
"""Items of a list that comes out."""

_LIMITS: Final = {
    "nodes": NODES_MAX,
    "flattens ([])": FLATTENS_MAX,
    "projections": PROJECTIONS_MAX,
    "multi-selects": SELECTS_MAX,
    "pipes around a multi-select": PIPES_MAX,
}
_COUNTED: Final = {
    "flatten": "flattens ([])",
    "projection": "projections",
    "filter_projection": "projections",
    "value_projection": "projections",
    "multi_select_list": "multi-selects",
    "multi_select_dict": "multi-selects",
    "pipe": "pipes around a multi-select",
}
_ALLOWED: Final = (
    "a JMESPath expression, such as [?primary].value | [0]; "
    "== compares, text stands in 'single quotes', a number, true or null in `backticks`, other keys in double quotes"
)
_QUOTED: Final = re.compile(r"([\"'`])((?:\\.|(?!\1)[^\\])*)\1?", re.DOTALL)
_BARE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WORDS: Final = frozenset({"true", "false", "null"})
_COMPARE: Final = frozenset({"eq", "ne", "lt", "lte", "gt", "gte"})


def checked(text: str) -> str:
    """Return the expression if it can be run within the limits; raise the fault that says why it cannot."""
    if len(text) > EXPRESSION_MAX:
        raise fault("jmespath", f"{len(text)} characters", f"an expression of at most {EXPRESSION_MAX} characters")
    for literal in _QUOTED.finditer(text):
        if literal[1] == "`" and not _is_json(literal[2].replace("\\`", "`")):
            allowed = "JSON in backticks, such as `2` or `true`; text in 'single quotes'"
            raise _fault("text in `backticks` that is not JSON", literal.start(), allowed)
    _check_sizes(text, _parsed(text))
    _check_words(text)
    return text


def jmespath(text: str) -> Callable[[Json], Json]:
    """What a JMESPath expression finds in the value: text, a number, a boolean or a short list; null if nothing."""
    tree = Parser().parse(text).parsed

    def search(value: Json) -> Json:
        if _is_large(value):
            raise MappingError(f"found {type_name(value)} of more than {INPUT_MAX // 1024} KiB; let from pick a part")
        return _short(evaluate(tree, value))

    return search


Jmespath = Annotated[
    str,
    Field(
        examples=["[?primary].value | [0]"],
        json_schema_extra={"minLength": 1, "maxLength": EXPRESSION_MAX},
    ),
    AfterValidator(checked),
]
"""An expression that was found to keep to the limits."""


def _parsed(text: str) -> Any:  # noqa: ANN401  # a node as the library has it
    """Return the tree of an expression, or raise the fault that says where it breaks off."""
    try:
        return Parser().parse(text).parsed
    except (EmptyExpressionError, IncompleteExpressionError):
        raise fault("jmespath", "the end of the expression", _ALLOWED) from None
    except LexerError as error:
        raise _fault(_character(text, error.lexer_position), error.lexer_position, _ALLOWED) from None
    except ParseError as error:
        raise _fault(_character(text, error.lex_position), error.lex_position, _ALLOWED) from None
    except RecursionError:
        raise fault("jmespath", "parts too deep in each other", f"an expression of at most {NODES_MAX} nodes") from None


def _check_sizes(text: str, tree: Any) -> None:  # noqa: ANN401  # as above
    """Refuse a tree that may multiply what it is given, or calls what is not there."""
    counts: Counter[str] = Counter()
    calls: list[Any] = []
    for node in _nodes(tree):
        kind = node["type"]
        counts["nodes"] += 1
        counts[_COUNTED.get(kind, kind)] += 1
        calls += [node] if kind == "function_expression" else []
        if kind == "slice" and node["children"][2] == 0:
            raise fault("jmespath", "a slice with a step of 0", "a step of 1 or more, or below 0")
    expressions = sum(child["type"] == "expref" for call in calls for child in _check_call(text, call))
    counts["projections"] += expressions
    if counts["expref"] != expressions:
        raise fault(
            "jmespath", "& outside of a function", "&name as an argument of a function by a key, such as max_by"
        )
    if not counts["multi-selects"]:
        del counts["pipes around a multi-select"]
    for what, most in _LIMITS.items():
        if counts[what] > most:
            raise fault("jmespath", f"{counts[what]} {what}", f"at most {most}")


def _nodes(tree: Any) -> Iterator[Any]:  # noqa: ANN401  # as above
    rest = [tree]
    while rest:
        node = rest.pop()
        yield node
        if node["type"] != "slice":  # whose children are numbers
            rest += node["children"]


def _check_call(text: str, call: Any) -> list[Any]:  # noqa: ANN401  # as above
    """Refuse a call of no function, or with other arguments than it takes; return the arguments."""
    name, arguments = call["value"], call["children"]
    start = next(token["start"] for token in Lexer().tokenize(text) if token["value"] == name)
    if (known := FUNCTIONS.get(name)) is None:
        raise _fault(f"{name}()", start, ", ".join(FUNCTIONS), close=nearest(name, FUNCTIONS))
    if not known.takes(len(arguments)):
        allowed = f"{len(known.expressions)}{' or more' * known.variadic}"
        raise _fault(f"{name}() with {len(arguments)} arguments", start, f"{name}() with {allowed}")
    for at, argument in enumerate(arguments):
        if (argument["type"] == "expref") is not known.takes_expression(at):
            allowed = f"{'&name' if known.takes_expression(at) else 'a value, without &,'} as argument {at + 1}"
            raise _fault(f"{name}() with another argument", start, allowed)
    return list(arguments)


def _check_words(text: str) -> None:
    """Refuse what reads as a value and is the name of a key: ``== true``, ``== "work"``."""
    tokens = list(Lexer().tokenize(text))
    for left, right in pairwise(tokens):
        for word, other in ((left, right), (right, left)):
            if other["type"] not in _COMPARE:
                continue
            if word["type"] == "unquoted_identifier" and word["value"] in _WORDS:
                raise _fault(f"{word['value']}, the name of a key,", word["start"], f"`{word['value']}` in backticks")
            if word["type"] == "quoted_identifier" and _BARE.fullmatch(word["value"]) and word["value"] not in _WORDS:
                found = f'"{word["value"]}", the name of a key,'
                raise _fault(found, word["start"], f"'{word['value']}' for text, {word['value']} for the key")


def _character(text: str, at: int) -> str:
    return repr(text[at]) if at < len(text) else "the end"


def _fault(found: str, at: int, allowed: str, *, close: str | None = None) -> PydanticCustomError:
    return fault("jmespath", f"{found} at character {at + 1} of the expression", allowed, close=close)


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError):
        return False
    return True


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError("not finite")
    return number


def _is_large(value: Json) -> bool:
    """Say whether a value is larger than the limit, looking no further than that."""
    left, rest = INPUT_MAX, [value]
    while rest and left >= 0:
        node = rest.pop()
        left -= 1
        if isinstance(node, str):
            left -= len(node)
        elif isinstance(node, list):
            rest += node[: left + 1]
        elif isinstance(node, dict):
            left -= sum(map(len, node))
            rest += node.values()
    return left < 0


def _short(made: Any) -> Json:  # noqa: ANN401  # what an expression makes
    """Return what an expression made if a rule can go on with it."""
    if isinstance(made, float) and not math.isfinite(made):
        raise MappingError("found a number that is not finite")
    if made is None or is_scalar(made):
        return made  # type: ignore[no-any-return]  # it was just looked at
    if not isinstance(made, list):
        raise MappingError(f"found {type_name(made)}, not a value or a list of values; name the key that is wanted")
    if len(made) > RESULT_MAX:
        raise MappingError(f"found a list of more than {RESULT_MAX} items; take a part of it, as with [0]")
    if any(item is not None and not is_scalar(item) for item in made):
        raise MappingError("found a list with lists or objects in it; name the key that is wanted")
    if sum(len(item) for item in made if isinstance(item, str)) > TEXT_BYTES_MAX:
        raise MappingError(f"found a list with more than {TEXT_BYTES_MAX // 1024} KiB of text")
    return made
