"""XML bodies with elements gone, doubled, moved or otherwise filled, and with what parsers must not follow."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from hypothesis import strategies as st

from tests.fuzz.values import texts

MANY: Final[tuple[int, ...]] = (0, 2, 100, 101, 501)
DEEP: Final[tuple[int, ...]] = (10, 64, 65, 300, 20_000)

_TAG: Final = re.compile(rb"<(/?)([A-Za-z_][^\s/>]*)([^>]*?)(/?)>")


@dataclass(frozen=True, slots=True)
class Element:
    """Where an element stands in its text: all of it, its opening tag's end, and its closing tag's beginning."""

    name: bytes
    start: int
    inner: int
    inner_end: int
    end: int


@st.composite
def markups(draw: st.DrawFn, body: bytes) -> bytes:
    """Return an XML body with up to three things changed in it, usually well-formed still."""
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        found = elements(body)
        if found:
            body = draw(st.sampled_from(CHANGES))(draw, body, draw(st.sampled_from(found)))
    return draw(st.sampled_from(WRITTEN))(draw, body) if draw(st.integers(0, 5)) == 0 else body


def elements(body: bytes) -> list[Element]:
    """Return the elements of a text, as far as its tags agree."""
    found: list[Element] = []
    opened: list[tuple[bytes, int, int]] = []
    for tag in _TAG.finditer(body):
        closing, name, _, empty = tag.groups()
        if empty:
            found.append(Element(name, tag.start(), tag.end(), tag.end(), tag.end()))
        elif not closing:
            opened.append((name, tag.start(), tag.end()))
        elif opened and opened[-1][0] == name:
            _, start, inner = opened.pop()
            found.append(Element(name, start, inner, tag.start(), tag.end()))
    return found


def _gone(_draw: st.DrawFn, body: bytes, one: Element) -> bytes:
    return body[: one.start] + body[one.end :]


def _repeated(draw: st.DrawFn, body: bytes, one: Element) -> bytes:
    # What holds most of the text is not repeated so often that the text no longer fits a request.
    times = draw(st.sampled_from(MANY if one.end - one.start < 2000 else MANY[:2]))
    return body[: one.start] + body[one.start : one.end] * times + body[one.end :]


def _filled(draw: st.DrawFn, body: bytes, one: Element) -> bytes:
    text = draw(texts)
    written: str = draw(st.sampled_from([escape(text), text, f"<![CDATA[{text}]]>", f"<!-- {text} -->", f"&{text};"]))
    return body[: one.inner] + written.encode("utf-8", "surrogatepass") + body[one.inner_end :]


def _moved(draw: st.DrawFn, body: bytes, one: Element) -> bytes:
    other = draw(st.sampled_from(elements(body)))
    return body[: one.inner] + body[other.start : other.end] + body[one.inner_end :]


def _renamed(draw: st.DrawFn, body: bytes, one: Element) -> bytes:
    if one.inner == one.end:
        return body
    prefix, colon, local = one.name.rpartition(b":")
    name = draw(
        st.sampled_from([local, local.swapcase(), b"no:" + local, b"x", prefix + colon + b"x", b"soapenv:Body"])
    )
    opening = body[one.start + 1 + len(one.name) : one.inner]
    return (
        body[: one.start]
        + b"<"
        + name
        + opening
        + body[one.inner : one.inner_end]
        + b"</"
        + name
        + b">"
        + body[one.end :]
    )


def _described(draw: st.DrawFn, body: bytes, one: Element) -> bytes:
    attributes = [
        *(b' xsi:nil="true"', b' xsi:nil="maybe"', b' xmlns="urn:another"', b' xmlns=""', b' xsi:type="sf:Account"'),
        *(b' xsi:type="Contact"', b' xsi:type="no:Contact"', b' xmlns:sf="urn:another"', b' id="1" id="2"'),
    ]
    at = one.start + 1 + len(one.name)
    kept = draw(st.sampled_from([body[at:], body[body.find(b">", at) :]]))  # with its own attributes, or without
    return body[:at] + draw(st.sampled_from(attributes)) + kept


def _deep(draw: st.DrawFn, body: bytes, one: Element) -> bytes:
    levels = draw(st.sampled_from(DEEP[:-1]))
    return body[: one.inner] + b"<a>" * levels + b"</a>" * levels + body[one.inner_end :]


Change = Callable[[st.DrawFn, bytes, Element], bytes]
CHANGES: Final[tuple[Change, ...]] = (
    *(_gone, _gone, _repeated, _filled, _filled, _filled, _moved, _renamed, _described, _deep),
)

_TYPES: Final = (
    b"<!DOCTYPE a>",
    b'<!DOCTYPE a [<!ENTITY b "Amara">]>',
    b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]>',
    b'<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd">',
    b'<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;">]>',
    b'<!DOCTYPE a [<!ENTITY % b SYSTEM "http://127.0.0.1:9/"> %b;]>',
)


def _with_a_type(draw: st.DrawFn, body: bytes) -> bytes:
    head, end, rest = body.partition(b"?>")
    return head + end + draw(st.sampled_from(_TYPES)) + rest if end else draw(st.sampled_from(_TYPES)) + body


def _surrounded(draw: st.DrawFn, body: bytes) -> bytes:
    around = [b"", b" ", b"\r\n\r\n", b"\xef\xbb\xbf", b"\x00", b"<a/>", b"<?a b?>", b"<!-- c -->", b"x", b"&b;", b"<"]
    return draw(st.sampled_from(around)) + body + draw(st.sampled_from(around))


def _encoded(draw: st.DrawFn, body: bytes) -> bytes:
    said = draw(st.sampled_from(["utf-8", "UTF-16", "latin-1", "us-ascii", "utf-7", "cp037", "no-such", ""]))
    text = re.sub(r"^\s*<\?xml[^>]*\?>", "", body.decode("utf-8", "replace"))
    written = draw(st.sampled_from(["utf-8", "utf-16", "latin-1", "cp037", "utf-32"]))
    return f'<?xml version="1.0" encoding="{said}"?>{text}'.encode(written, "replace")


def _truncated(draw: st.DrawFn, body: bytes) -> bytes:
    return body[: draw(st.integers(0, len(body)))]


def _bottomless(draw: st.DrawFn, _body: bytes) -> bytes:
    return b"<a>" * draw(st.sampled_from(DEEP))


Writing = Callable[[st.DrawFn, bytes], bytes]
WRITTEN: Final[tuple[Writing, ...]] = (_with_a_type, _with_a_type, _surrounded, _encoded, _truncated, _bottomless)
