"""Values put where a path will find them."""

import orjson
import pytest

from service.model import MISSING, Json
from service.paths import Path
from service.sources.generic.places import put

PATHS = [
    "a",
    "a.b",
    '"x.y".z',
    "a[0]",
    "a[2].b",
    "a[-1]",
    "a[-3].c",
    "[0].a",
    "a[?primary].v",
    "a[?label=work].v",
    "[?k=v]",
    "a[0][1]",
]


@pytest.mark.parametrize("text", PATHS)
@pytest.mark.parametrize(
    "document", [{}, None, {"a": 1}, {"a": {"b": {"c": 1}}}, {"a": [{"label": "work", "v": 1}, {"primary": 0}]}, [7]]
)
def test_what_is_put_at_a_path_is_found_there(text: str, document: Json) -> None:
    path = Path.parse(text, roots=False)
    value: Json = {"primary": True, "k": "v"}
    assert path.get(put(document, path.steps, value)) == value


def test_putting_leaves_the_rest_and_the_original_alone() -> None:
    document: Json = {"a": {"b": 1}, "l": [{"primary": True, "v": 1}, {"v": 2}]}
    before = orjson.dumps(document)
    assert put(document, Path.parse("l[?primary].v").steps, 9) == {
        "a": {"b": 1},
        "l": [{"primary": True, "v": 9}, {"v": 2}],
    }
    assert put(document, Path.parse("l[1].v").steps, 9) == {"a": {"b": 1}, "l": [{"primary": True, "v": 1}, {"v": 9}]}
    assert orjson.dumps(document) == before
    assert Path.parse("x").get(document) is MISSING
