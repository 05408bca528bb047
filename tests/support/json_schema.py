"""What an editor makes of a JSON Schema: the part of draft 2020-12 that ours uses; an unknown keyword is an error."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

_ABOUT: Final = frozenset({"$schema", "$defs", "title", "description", "default", "examples", "format", "writeOnly"})
"""Keywords that refuse nothing; nor does ``format``, by itself."""
_TYPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
}


def mistakes(schema: Mapping[str, Any], value: Any) -> list[str]:  # noqa: ANN401  # any JSON
    """Return where a value does not fit a schema, each place with the keyword that refuses it."""
    return [f"{place or '/'}: {keyword}" for place, keyword in _Reader(schema).refused(schema, value, "")]


class _Reader:
    """One schema, read as the standard says."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root

    def refused(self, schema: Any, value: Any, place: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401  # any schema
        if isinstance(schema, bool):
            if not schema:
                yield place, "false"
            return
        for keyword, said in schema.items():
            if keyword in _ABOUT or keyword == "then":
                continue
            if keyword in {"properties", "additionalProperties", "propertyNames", "items"}:
                yield from self._inside(schema, keyword, value, place)
            elif keyword == "$ref":
                yield from self.refused(self._root["$defs"][said.removeprefix("#/$defs/")], value, place)
            elif not self._fits(schema, keyword, value):
                yield place, keyword

    def _inside(self, schema: Any, keyword: str, value: Any, place: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401  # as above
        said = schema[keyword]
        if keyword == "items" and isinstance(value, list):
            for index, item in enumerate(value):
                yield from self.refused(said, item, f"{place}/{index}")
        for name, item in value.items() if isinstance(value, dict) else ():
            known = name in schema.get("properties", {})
            if keyword == "properties" and known:
                yield from self.refused(said[name], item, f"{place}/{name}")
            elif keyword == "additionalProperties" and not known:
                yield from self.refused(said, item, f"{place}/{name}")
            elif keyword == "propertyNames":
                yield from self.refused(said, name, f"{place}/{name}")

    def _fits(self, schema: Any, keyword: str, value: Any) -> bool:  # noqa: ANN401, C901, PLR0911, PLR0912  # a table of keywords
        said = schema[keyword]
        match keyword:
            case "type":
                return any(_TYPES[one](value) for one in ([said] if isinstance(said, str) else said))
            case "enum":
                return value in said
            case "const":
                return bool(value == said and isinstance(value, bool) == isinstance(said, bool))
            case "anyOf":
                return any(self._takes(one, value) for one in said)
            case "oneOf":
                return sum(self._takes(one, value) for one in said) == 1
            case "not":
                return not self._takes(said, value)
            case "if":
                return not self._takes(said, value) or self._takes(schema["then"], value)
            case "required":
                return not isinstance(value, dict) or set(said) <= value.keys()
            case "pattern":
                return not isinstance(value, str) or re.search(said, value) is not None
            case "minLength" | "maxLength":
                return not isinstance(value, str) or _within(keyword, said, len(value))
            case "minItems" | "maxItems":
                return not isinstance(value, list) or _within(keyword, said, len(value))
            case "minProperties" | "maxProperties":
                return not isinstance(value, dict) or _within(keyword, said, len(value))
            case "minimum" | "maximum":
                return not _TYPES["number"](value) or _within(keyword, said, value)
            case "discriminator":  # OpenAPI's; says nothing that oneOf does not say
                return True
            case _:
                raise AssertionError(f"{keyword}: a keyword that this reader does not know")

    def _takes(self, schema: Any, value: Any) -> bool:  # noqa: ANN401  # as above
        return next(self.refused(schema, value, ""), None) is None


def _within(keyword: str, limit: float, size: float) -> bool:
    return size >= limit if keyword.startswith("min") else size <= limit
