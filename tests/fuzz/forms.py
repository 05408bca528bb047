"""Form bodies with fields gone, doubled, renamed, nested, or encoded as no browser would."""

from collections.abc import Callable
from typing import Final
from urllib.parse import quote_plus

from hypothesis import strategies as st

from tests.fuzz.values import texts

MANY: Final[tuple[int, ...]] = (2, 500, 501, 1000, 1001)

Fields = list[bytes]


@st.composite
def forms(draw: st.DrawFn, body: bytes) -> bytes:
    """Return a form with up to three of its fields changed."""
    fields = body.split(b"&")
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        if fields:
            draw(st.sampled_from(CHANGES))(draw, fields, draw(st.integers(0, len(fields) - 1)))
    return b"&".join(fields)


def _gone(_draw: st.DrawFn, fields: Fields, at: int) -> None:
    del fields[at]


def _another_value(draw: st.DrawFn, fields: Fields, at: int) -> None:
    written = quote_plus(draw(texts).encode("utf-8", "surrogatepass")).encode()
    fields[at] = fields[at].partition(b"=")[0] + b"=" + written


def _another_name(draw: st.DrawFn, fields: Fields, at: int) -> None:
    name, mark, value = fields[at].partition(b"=")
    names = [
        b"",
        name.upper(),
        name + b"[]",
        name + b"[a][b]",
        name + b"[",
        b"[" + name + b"]",
        name + b"[a]" * 70,
        b"%ff",
    ]
    fields[at] = draw(st.sampled_from(names)) + mark + value


def _repeated(draw: st.DrawFn, fields: Fields, at: int) -> None:
    fields[at:at] = [fields[at]] * draw(st.sampled_from(MANY))


def _both_group_and_value(_draw: st.DrawFn, fields: Fields, at: int) -> None:
    name = fields[at].partition(b"=")[0].partition(b"%5B")[0].partition(b"[")[0]
    fields.append(name + b"=1")


def _badly_encoded(draw: st.DrawFn, fields: Fields, at: int) -> None:
    fields[at] += draw(st.sampled_from([b"%", b"%zz", b"%ff", b"\xff", b"%00", b"==", b";a=b", b"&&", b"%uD800"]))


Change = Callable[[st.DrawFn, Fields, int], None]
CHANGES: Final[tuple[Change, ...]] = (
    *(_gone, _another_value, _another_value, _another_name, _repeated, _both_group_and_value, _badly_encoded),
)
