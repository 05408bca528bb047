"""How an admitted JMESPath expression is evaluated: step by step, counted, by functions that keep to our limits."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from jmespath.exceptions import JMESPathTypeError
from jmespath.functions import Functions, signature
from jmespath.visitor import Options, TreeInterpreter

from service.mapping.values import MappingError, join_texts, scalar_text, type_name
from service.model import Json

STEPS_MAX: Final = 100_000
"""Steps of an evaluation: the nodes visited, and the items and text of what comes up on the way."""
_TEXT_OF_A_STEP: Final = 64
"""Characters of text that count as one step."""

_TEXT: Final[dict[str, Any]] = {"types": ["string"]}
_TYPES: Final = {
    "string": "text",
    "number": "a number",
    "boolean": "a boolean",
    "array": "a list",
    "object": "an object",
    "array-string": "a list of texts",
    "array-number": "a list of numbers",
}


class _OurFunctions(Functions):
    """The functions of JMESPath, but for those that make text: these make none longer than 64 KiB, and ours."""

    @signature(_TEXT, {"types": ["array-string"]})  # type: ignore[arg-type]  # a part of the type is given by a name
    def _func_join(self, separator: str, texts: list[Json]) -> str:
        return join_texts(texts, separator)

    @signature({"types": ["string", "number", "boolean"]})
    def _func_to_string(self, value: Json) -> str:
        return scalar_text(value)


@dataclass(frozen=True, slots=True)
class Signature:
    """What a function takes: for each argument, whether it is an expression (``&name``); the last one may repeat."""

    expressions: tuple[bool, ...]
    variadic: bool

    def takes(self, count: int) -> bool:
        """Say whether the function can be called with so many arguments."""
        return count >= len(self.expressions) if self.variadic else count == len(self.expressions)

    def takes_expression(self, at: int) -> bool:
        """Say whether an argument is an expression, which is evaluated for each item."""
        return self.expressions[min(at, len(self.expressions) - 1)]


def _signature_of(arguments: tuple[Mapping[str, Any], ...]) -> Signature:
    return Signature(tuple(each["types"] == ["expref"] for each in arguments), bool(arguments[-1].get("variadic")))


FUNCTIONS: Final = MappingProxyType(
    {name: _signature_of(entry["signature"]) for name, entry in _OurFunctions.FUNCTION_TABLE.items()}
)
"""Every function that an expression may call."""
_OPTIONS: Final = Options(custom_functions=_OurFunctions())


class _Metered(TreeInterpreter):
    """An interpreter for one evaluation, which ends with a MappingError once it took too many steps."""

    def __init__(self) -> None:
        super().__init__(_OPTIONS)
        self._left = STEPS_MAX

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # as the library has it
        made = super().visit(node, *args, **kwargs)
        self._left -= 1 + _length(made)
        if self._left < 0:
            raise MappingError(f"takes more than {STEPS_MAX} steps; let from pick a smaller part, or ask for less")
        return made


def _length(made: Any) -> int:  # noqa: ANN401  # as above
    if isinstance(made, str):
        return len(made) // _TEXT_OF_A_STEP
    return len(made) if isinstance(made, list | dict) else 0


def evaluate(tree: Any, value: Json) -> Any:  # noqa: ANN401  # a node as the library has it; what it makes
    """Return what an admitted expression makes of a value; raise MappingError and nothing else."""
    try:
        return _Metered().visit(tree, value)
    except JMESPathTypeError as error:
        expected = " or ".join(_TYPES[name] for name in error.expected_types)
        raise MappingError(f"{error.function_name} found {type_name(error.current_value)}, not {expected}") from None
    except MappingError:
        raise
    except (TypeError, RecursionError):
        raise MappingError("found values that cannot be compared with each other") from None
    except (ValueError, ArithmeticError):
        raise MappingError("found a number that cannot be computed with") from None
