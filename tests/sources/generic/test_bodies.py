"""Forms as documents, and documents as forms."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import ParseError, TooLarge
from service.model import Json
from service.sources.generic.bodies import FORM_FIELDS_MAX, body_without, read_body, without, write_body


@pytest.mark.parametrize(
    ("body", "document"),
    [
        (b"", {}),
        (b"a=1&b=&c&=x&", {"a": "1", "b": "", "c": ""}),
        (b"a=1&a=2&a=3", {"a": ["1", "2", "3"]}),
        (b"t[]=1", {"t": ["1"]}),
        (b"t[]=1&t[]=2", {"t": ["1", "2"]}),
        (b"c[fields][39]=x&c[email]=a%40b.example", {"c": {"fields": {"39": "x"}, "email": "a@b.example"}}),
        (b"c%5Btags%5D%5B%5D=vip", {"c": {"tags": ["vip"]}}),
        (b"a+b=c+d%2B&%C3%BC=%E2%9C%93", {"a b": "c d+", "ü": "✓"}),
        (b"c[a=1&[b]=2&c]=3&d[e]f=4", {"c[a": "1", "[b]": "2", "c]": "3", "d[e]f": "4"}),
        (b"a[][b]=1", {"a": {"": {"b": "1"}}}),
        (b"[]=1", {"[]": "1"}),
    ],
)
def test_a_form_is_read_as_a_document(body: bytes, document: Json) -> None:
    assert read_body(body, "form") == document


@pytest.mark.parametrize(
    "body", [b"a=1&a[b]=2", b"a[b]=2&a=1", b"a[b]=1&a[b][c]=2", b"a=%ff", b"\xff=1", b"a" + b"[b]" * 64 + b"=1"]
)
def test_a_form_that_contradicts_itself_or_is_not_utf_8_is_refused(body: bytes) -> None:
    with pytest.raises(ParseError):
        read_body(body, "form")


def test_the_fields_of_a_form_are_bounded() -> None:
    fits = b"&".join(b"f%d=1" % number for number in range(FORM_FIELDS_MAX))
    document = read_body(fits, "form")
    assert isinstance(document, dict)
    assert len(document) == FORM_FIELDS_MAX
    with pytest.raises(TooLarge, match="1000"):
        read_body(fits + b"&x=1", "form")


@given(body=st.binary(max_size=200) | st.text(alphabet="ab[]=&%+1", max_size=80).map(str.encode))
def test_reading_a_form_raises_nothing_undocumented(body: bytes) -> None:
    with contextlib.suppress(ParseError):
        assert isinstance(read_body(body, "form"), dict)


KEYS = st.text("abc_1ü &=+%", min_size=1, max_size=5)


@given(
    document=st.dictionaries(
        KEYS,
        st.text(max_size=5)
        | st.dictionaries(KEYS, st.text(max_size=5), min_size=1, max_size=3)
        | st.lists(st.text(max_size=5), min_size=1),
        max_size=4,
    )
)
def test_a_written_form_reads_as_it_was(document: dict[str, Json]) -> None:
    assert read_body(write_body(document, "form"), "form") == document


def test_a_form_leaves_null_out_and_writes_other_values_as_text() -> None:
    assert write_body({"a": None, "b": True, "c": {"d": 2}, "e": [None, 1.0]}, "form") == b"b=true&c%5Bd%5D=2&e%5B%5D=1"


@pytest.mark.parametrize(
    ("document", "rest"),
    [
        ({"token": "x", "id": 1}, {"id": 1}),
        ({"auth": {"token": "x"}, "id": 1}, {"auth": {"token": "x"}, "id": 1}),
        ({"token": {"a": 1}}, {}),
        ({"token": {}}, {}),
        ({"id": 1}, {"id": 1}),
        (["token"], ["token"]),
        (None, None),
    ],
)
def test_a_key_is_taken_out_with_all_that_is_under_it(document: Json, rest: Json) -> None:
    assert without(document, ("token",)) == rest


@pytest.mark.parametrize(
    ("document", "rest"),
    [
        ({"auth": {"token": "x", "by": "y"}, "id": 1}, {"auth": {"by": "y"}, "id": 1}),
        ({"auth": {"token": "x"}, "id": 1}, {"id": 1}),
        ({"auth": {}, "id": 1}, {"auth": {}, "id": 1}),
        ({"auth": "x"}, {"auth": "x"}),
        ({"auth": [{"token": "x"}]}, {"auth": [{"token": "x"}]}),
    ],
)
def test_an_inner_key_is_taken_out_and_an_object_that_it_empties(document: Json, rest: Json) -> None:
    assert without(document, ("auth", "token")) == rest


NAMES = st.sampled_from(
    ["auth", "auth[token]", "auth[token][]", "auth%5Btoken%5D", "auth[by]", "auth[token][x]", "id", "token", ""]
)


@given(
    pairs=st.lists(st.tuples(NAMES, st.text("ab", max_size=2)), max_size=5),
    keys=st.sampled_from([("auth",), ("auth", "token"), ("id",)]),
)
def test_a_form_without_a_field_reads_as_its_document_without_it(
    pairs: list[tuple[str, str]], keys: tuple[str, ...]
) -> None:
    """Else a request that is kept and read again would become another event."""
    body = "&".join(f"{name}={value}" for name, value in pairs).encode()
    with contextlib.suppress(ParseError):
        document = read_body(body, "form")
        assert read_body(body_without(body, "form", keys), "form") == without(document, keys)
