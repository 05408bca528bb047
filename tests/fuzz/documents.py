"""JSON bodies in which something stands where it should not, or in a form that it should not have."""

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from hypothesis import strategies as st

from tests.fuzz.values import NUMBERS, json_values, texts

MANY: Final[tuple[int, ...]] = (0, 1, 2, 100, 500, 501)
DEEP: Final[tuple[int, ...]] = (10, 60, 64, 65, 200, 20_000)
ROOT: Final = 15
"""The document as a whole is changed once in so many times."""

Place = tuple[Any, Any]
"""A list or an object, and where in it."""


def is_json(body: bytes) -> bool:
    """Say whether a body can be changed as a document."""
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


@st.composite
def documents(draw: st.DrawFn, body: bytes) -> bytes:
    """Return a JSON body with up to three things changed in it, usually written as JSON should be."""
    holder = [json.loads(body)]
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        within = [*_places(holder[0])] if holder else []
        places = [(holder, 0)] if holder and (not within or draw(st.integers(0, ROOT)) == 0) else within
        if places:
            draw(st.sampled_from(CHANGES))(draw, draw(st.sampled_from(places)), places)
    text = json.dumps(holder[0], separators=(",", ":")).encode() if holder else b""
    return draw(st.sampled_from(WRITTEN))(draw, text) if draw(st.integers(0, 7)) == 0 else text


def _places(node: Any) -> Iterator[Place]:  # noqa: ANN401  # whatever JSON can hold
    keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    for key in keys:
        yield node, key
        yield from _places(node[key])


def _another(draw: st.DrawFn, place: Place, _places: list[Place]) -> None:
    node, key = place
    node[key] = draw(json_values)


def _another_text(draw: st.DrawFn, place: Place, _places: list[Place]) -> None:
    node, key = place
    node[key] = draw(texts)


def _another_number(draw: st.DrawFn, place: Place, _places: list[Place]) -> None:
    node, key = place
    node[key] = draw(st.sampled_from(NUMBERS))


def _absent(_draw: st.DrawFn, place: Place, _places: list[Place]) -> None:
    node, key = place
    del node[key]


def _renamed(draw: st.DrawFn, place: Place, _places: list[Place]) -> None:
    node, key = place
    if isinstance(node, dict):
        node[draw(st.sampled_from([key.upper(), key + " ", key[:-1], ""]) | texts)] = node.pop(key)


def _from_elsewhere(draw: st.DrawFn, place: Place, places: list[Place]) -> None:
    node, key = place
    other, at = draw(st.sampled_from(places))
    node[key] = json.loads(json.dumps(other[at]))


def _many(draw: st.DrawFn, place: Place, _places: list[Place]) -> None:
    node, key = place
    # What is large already is not repeated often: the text would no longer fit a request.
    small = len(json.dumps(node[key])) < 2000
    node[key] = [node[key]] * draw(st.sampled_from(MANY if small else MANY[:3]))


def _wrapped(draw: st.DrawFn, place: Place, _places: list[Place]) -> None:
    node, key = place
    node[key] = {draw(st.sampled_from(["value", "id", "Value", "0", ""])): node[key]}


def _of_another_type(_draw: st.DrawFn, place: Place, _places: list[Place]) -> None:
    node, key = place
    value = node[key]
    if isinstance(value, str):
        node[key] = int(value) if value.isascii() and value.isdecimal() and len(value) < 20 else [*value[:3]]
    else:
        node[key] = json.dumps(value)


def _deep(draw: st.DrawFn, place: Place, _places: list[Place]) -> None:
    node, key = place
    for _ in range(draw(st.sampled_from(DEEP[:-1]))):
        node[key] = [node[key]]


Change = Callable[[st.DrawFn, Place, list[Place]], None]
CHANGES: Final[tuple[Change, ...]] = (
    *(_another, _another_text, _another_text, _another_text, _another_number, _absent, _renamed, _from_elsewhere),
    *(_many, _wrapped, _of_another_type, _deep),
)


def _with_a_mark(_draw: st.DrawFn, text: bytes) -> bytes:
    return b"\xef\xbb\xbf" + text


def _encoded(draw: st.DrawFn, text: bytes) -> bytes:
    plain = json.dumps(json.loads(text or b"0"), ensure_ascii=False)
    return plain.encode(draw(st.sampled_from(["utf-8", "utf-16", "latin-1", "utf-7"])), "replace")


def _truncated(draw: st.DrawFn, text: bytes) -> bytes:
    return text[: draw(st.integers(0, len(text)))]


def _surrounded(draw: st.DrawFn, text: bytes) -> bytes:
    around = st.sampled_from([b"", b" ", b"\r\n", b"\x00", b",", b"]", b"}", b"{}", b"//", b"\xff", b"payload="])
    return draw(around) + text + draw(around)


def _said_twice(draw: st.DrawFn, text: bytes) -> bytes:
    """JSON does not say which of two equal keys counts; whichever it is, it must be one."""
    document = json.loads(text or b"0")
    if not isinstance(document, dict) or not document:
        return text
    key = draw(st.sampled_from(list(document)))
    twice = json.dumps({key: draw(json_values)})[1:-1].encode()
    return text[:-1] + b"," + twice + b"}" if draw(st.booleans()) else b"{" + twice + b"," + text[1:]


def _bottomless(draw: st.DrawFn, _text: bytes) -> bytes:
    opening = draw(st.sampled_from([b"[", b'{"a":', b'[{"a":']))
    return opening * draw(st.sampled_from(DEEP))


Writing = Callable[[st.DrawFn, bytes], bytes]
WRITTEN: Final[tuple[Writing, ...]] = (_with_a_mark, _encoded, _truncated, _surrounded, _said_twice, _bottomless)
