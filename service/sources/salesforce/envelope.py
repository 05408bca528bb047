"""The SOAP envelope: read within limits into notifications, and kept without its session."""

import re
from typing import Final
from xml.etree.ElementTree import Element, TreeBuilder
from xml.etree.ElementTree import ParseError as NotXml

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import XMLParser

from service.errors import ParseError, TooLarge
from service.sources.base import identifier

SOAP: Final = "http://schemas.xmlsoap.org/soap/envelope/"
OUTBOUND: Final = "http://soap.sforce.com/2005/09/outbound"
INSTANCE: Final = "http://www.w3.org/2001/XMLSchema-instance"

TAGS_MAX: Final = 200_000
"""Tags of one message: 100 notifications of a contact with its 800 custom fields have fewer."""

# Names as expat gives them.
_NOTIFICATION: Final = f"{OUTBOUND}}}Notification"
_SESSION: Final = f"{OUTBOUND}}}SessionId"
_ENCODINGS: Final = frozenset({"utf-8", "us-ascii"})
_SESSION_END: Final = re.compile(rb"SessionId\s*>")
"""What every SessionId has that is not empty."""
_TAG_NAME: Final = re.compile(rb"<([^\s/>]+)")
_BLANKS: Final = b" \t\r\n"
_BOM: Final = b"\xef\xbb\xbf"


def stripped(body: bytes) -> bytes:
    """Return a body from its first sign on: an XML declaration may follow on nothing."""
    return body.removeprefix(_BOM).lstrip(_BLANKS)


def read(body: bytes) -> tuple[str, list[Element]]:
    """Return the organization's id and the notifications of a message; raise ParseError or TooLarge."""
    envelope = _root(body)
    message = child(child(envelope, f"{SOAP}}}Body"), f"{OUTBOUND}}}notifications")
    if message is None or envelope.tag != f"{SOAP}}}Envelope":
        raise ParseError("the body is no outbound message", hint="send SOAP 1.1 with notifications")
    if sum(1 for _ in envelope.iter(_SESSION)) != sum(part.tag == _SESSION for part in message):
        raise ParseError("a SessionId where none may be", hint="without it something else would be read")
    notifications = [part for part in message if part.tag == _NOTIFICATION]
    if not notifications:
        raise ParseError("a message without a Notification")
    return identifier(text_of(message, "OrganizationId"), "OrganizationId"), notifications


def without_session(body: bytes) -> bytes:
    """Return a message without its SessionId, byte for byte as it was otherwise; of what is no XML, nothing."""
    if b"\0" not in body and not _SESSION_END.search(body):
        return body
    parser = _parser(TreeBuilder())
    opened: list[int] = []
    spans: list[tuple[int, int]] = []

    def start(name: str, _attributes: object) -> None:
        if name == _SESSION:
            opened.append(parser.parser.CurrentByteIndex)

    def end(name: str) -> None:
        if name == _SESSION:
            first, last = opened.pop(), parser.parser.CurrentByteIndex
            if not opened and _ends(body, first, last):
                spans.append((first, body.index(b">", last) + 1))

    parser.parser.StartElementHandler, parser.parser.EndElementHandler = start, end
    try:
        _feed(parser, body)
        parser.close()
    except (NotXml, DefusedXmlException, ParseError):
        return b""
    for first, last in reversed(spans):
        body = body[:first] + body[last:]
    return body


def _ends(body: bytes, first: int, last: int) -> bool:
    """Say whether the tag that ends an element stands at ``last``: ``<SessionId xsi:nil="true"/>`` has none."""
    name = _TAG_NAME.match(body, first)
    return name is not None and body.startswith(b"</" + name.group(1), last)


def child(parent: Element | None, name: str) -> Element | None:
    """Return the first child of that name, None without it or without a parent."""
    return None if parent is None else next((one for one in parent if one.tag == name), None)


def text_of(parent: Element, name: str) -> str | None:
    """Return an id that stands in the outbound namespace, without the blanks that XML allows around it."""
    found = child(parent, f"{OUTBOUND}}}{name}")
    return None if found is None or found.text is None else found.text.strip()


def _check_encoding(_version: str, encoding: str | None, _standalone: int) -> None:
    if encoding is not None and encoding.lower() not in _ENCODINGS:
        raise ParseError("the message is not in UTF-8")


def _feed(parser: XMLParser, body: bytes) -> None:
    """Parse UTF-8. UTF-16 would be found out, whatever the parser is told; no XML in UTF-8 has a zero byte."""
    if b"\0" in body:
        raise ParseError("the message is not in UTF-8")
    parser.feed(body)


def _parser(builder: TreeBuilder) -> XMLParser:
    """Return a parser that refuses document types, and with them entities, and declarations of other encodings."""
    parser = XMLParser(target=builder, encoding="utf-8", forbid_dtd=True)
    parser.parser.XmlDeclHandler = _check_encoding
    # The builder's own methods, past those that spell each name in another way: twice as fast.
    parser.parser.StartElementHandler = builder.start
    parser.parser.EndElementHandler = builder.end
    parser.parser.ordered_attributes = False
    return parser


def _root(body: bytes) -> Element:
    """Parse a message; raise ParseError or TooLarge."""
    if body.count(b"<") > TAGS_MAX:
        raise TooLarge(f"more than {TAGS_MAX} tags in one message")
    parser = _parser(TreeBuilder())
    try:
        _feed(parser, body)
        root: Element = parser.close()
    except NotXml as error:
        line, column = error.position
        raise ParseError(f"the body is not XML (line {line}, column {column})", hint="send SOAP 1.1") from None
    except DefusedXmlException:
        raise ParseError("the body has a document type", hint="SOAP forbids it") from None
    return root
