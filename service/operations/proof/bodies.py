"""What is done to a body on the way: JSON written anew, line ends, byte order marks, character sets, forms; pure."""

import json
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, Final
from urllib.parse import parse_qsl, quote, quote_plus, urlencode

from service.errors import ParseError
from service.operations.proof.twist import Try, Twist
from service.sources.base import read_json

FIELDS_MAX: Final = 1_000
"""Fields of a form."""
BOM: Final = b"\xef\xbb\xbf"

_DO: Final = "let whatever stands before the service pass the bytes of the body on untouched; capture raw bytes"
_LAYOUTS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("without blanks", {"separators": (",", ":")}),
    ("with a blank after , and :", {}),
    ("over several lines", {"indent": 2}),
    ("over several lines, indented by four", {"indent": 4}),
)


def body_twists() -> Iterator[Twist]:
    """Yield what the body may have been before something on the way read it and wrote it again."""
    for (layout, options), (escaped, text), (ordered, keys) in product(
        _LAYOUTS, ((False, "plain text"), (True, r"\u escapes")), ((False, ""), (True, ", its keys sorted"))
    ):
        says = f"the JSON is written {layout}, with {text}{keys}"
        yield Twist("json", says, _DO, _saying(_json(ensure_ascii=escaped, sort_keys=ordered, **options)))
    yield Twist("json", r"the JSON is written compactly with \/ as PHP does", _DO, _saying(_as_php))
    yield Twist("json", r"the JSON is written compactly with \u0026 as Go does", _DO, _saying(_as_go))
    for name, says, change in _BYTES:
        yield Twist(name, says, _DO, _saying(change))


def _saying(change: Callable[[bytes], bytes]) -> Callable[[Try], Try]:
    return lambda to: to.saying(change(to.request.body))


def _json(**options: Any) -> Callable[[bytes], bytes]:  # noqa: ANN401  # as json.dumps takes them
    return lambda body: json.dumps(_document(body), **options).encode()


def _document(body: bytes) -> Any:  # noqa: ANN401  # whatever JSON holds
    """Return the document with its numbers and keys as Python keeps them. Raises ParseError, also where too deep."""
    text = body.removeprefix(BOM)
    read_json(text)
    return json.loads(text)


def _as_php(body: bytes) -> bytes:
    return json.dumps(_document(body), separators=(",", ":")).replace("/", r"\/").encode()


def _as_go(body: bytes) -> bytes:
    text = json.dumps(_document(body), separators=(",", ":"), ensure_ascii=False)
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e").encode()


def _form_as_json(body: bytes) -> dict[str, str]:
    return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX, strict_parsing=True))


def _json_as_form(body: bytes) -> bytes:
    document = _document(body)
    if not isinstance(document, dict) or any(isinstance(value, dict | list) for value in document.values()):
        raise ParseError("not a flat object")
    return urlencode({key: "" if value is None else value for key, value in document.items()}).encode()


def _form_anew(quoting: Callable[..., str]) -> Callable[[bytes], bytes]:
    def written(body: bytes) -> bytes:
        fields = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX, strict_parsing=True)
        return urlencode(fields, quote_via=quoting).encode()

    return written


def _as_text_lines(body: bytes) -> bytes:
    return body.replace(b"\r\n", b"\n")


_BYTES: Final[tuple[tuple[str, str, Callable[[bytes], bytes]], ...]] = (
    ("line_end", "the body ends without a line break", lambda body: body.rstrip(b"\r\n")),
    ("line_end", "the body ends without blanks", lambda body: body.strip()),
    ("line_end", "the body ends with a line break", lambda body: body + b"\n"),
    ("line_end", "the body ends with CR and LF", lambda body: body + b"\r\n"),
    ("line_end", "its lines end with LF", _as_text_lines),
    ("line_end", "its lines end with CR and LF", lambda body: _as_text_lines(body).replace(b"\n", b"\r\n")),
    ("byte_order_mark", "the body has no byte order mark", lambda body: body.removeprefix(BOM)),
    ("byte_order_mark", "the body begins with a byte order mark", lambda body: BOM + body.removeprefix(BOM)),
    ("charset", "the body is UTF-8 that was not encoded twice", lambda body: body.decode().encode("latin-1")),
    ("charset", "the body is Latin-1, not UTF-8", lambda body: body.decode().encode("cp1252")),
    ("charset", "the body is UTF-8, not Latin-1", lambda body: body.decode("latin-1").encode()),
    ("form", "the body is a form, not JSON", _json_as_form),
    ("form", "the body is JSON, not a form", lambda body: json.dumps(_form_as_json(body)).encode()),
    (
        "form",
        "the body is compact JSON, not a form",
        lambda body: json.dumps(_form_as_json(body), separators=(",", ":"), ensure_ascii=False).encode(),
    ),
    ("form", "blanks in the form are %20", _form_anew(quote)),
    ("form", "blanks in the form are +", _form_anew(quote_plus)),
)
