"""Whole requests of the three kinds, for any way to prove a sender."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from hypothesis import strategies as st

from service.model import InboundRequest
from tests.fuzz.documents import documents, is_json
from tests.fuzz.forms import forms
from tests.fuzz.markup import markups
from tests.fuzz.values import texts
from tests.fuzz.ways import bodies_of
from tests.support.crm import URL, Crm

METHODS: Final = ("POST", "GET", "HEAD", "PUT", "OPTIONS", "post", "", "BREW")
HITS: Final = (
    *("", " ", "\x00", "ü", "Ключ", "\ud800", "=", ",", "v1", "v1,", "t=", "t=1,v1=", "v1=,t=", "sha256=", "sha1="),
    *("Basic", "Basic !", "Basic Zm9v", "Bearer", "Bearer a.b.c", "9" * 20, "9" * 5000, "a" * 9000, "a" * 100_000),
    *("t=1," * 5000, "v1,a " * 1000, "1e309", "-1", "²", "1_0", "e30.e30.e30", "eyJhbGciOiJub25lIn0.e30."),
)
"""Texts that readers of proofs stumble over."""
PIECES: Final = (b"null", b"1e999", b"[", b'"', b"{}", b"-0.5", b"<", b"]]>", b"&", b"%", b"\x00", b"\xff", b"")

Text = Callable[[st.DrawFn, str], str]


def random_requests(way: Crm) -> st.SearchStrategy[InboundRequest]:
    """Return requests in which nothing is right but, now and then, where they are sent."""
    text = st.text(max_size=60) | st.text(alphabet=st.characters(codec="latin-1"), max_size=60) | st.sampled_from(HITS)
    names = st.sampled_from([*way.proofs, "content-type", "authorization", "x-forwarded-for"])
    return st.builds(
        InboundRequest,
        st.sampled_from(METHODS) | text,
        st.builds("{}{}".format, st.sampled_from([URL, "", "https://"]), text),
        st.fixed_dictionaries(dict.fromkeys(way.proofs, text), optional={"content-type": text})
        | st.dictionaries(names, text, max_size=4),
        st.binary(max_size=200),
    )


@st.composite
def altered_requests(draw: st.DrawFn, way: Crm) -> InboundRequest:
    """Return what the CRM signed, altered on the way in one to three places."""
    request = way.request(way.secrets[0], body=draw(st.sampled_from(bodies_of(way))))
    for _ in range(draw(st.integers(1, 3))):
        request = draw(st.sampled_from(ALTERATIONS))(draw, request)
    return request


@st.composite
def resigned_requests(draw: st.DrawFn, way: Crm) -> InboundRequest:
    """Return a request with a right proof over a body that the CRM would not make."""
    body = draw(changed_bodies(draw(st.sampled_from(bodies_of(way)))))
    try:
        return way.request(way.secrets[0], body=body)
    # There may be no place for the secret in it.
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return replace(way.request(way.secrets[0]), body=body)


@st.composite
def changed_bodies(draw: st.DrawFn, body: bytes) -> bytes:
    """Return a body that differs from another in what it says, by its format, or now and then in some of its bytes."""
    if draw(st.integers(0, 8)) == 0:
        return draw(spliced(body))
    if body.lstrip()[:1] == b"<":
        return draw(markups(body))
    if is_json(body):
        return draw(documents(body))
    return draw(forms(body) if b"=" in body else spliced(body))


@st.composite
def spliced(draw: st.DrawFn, body: bytes) -> bytes:
    """Return a body with up to four short stretches of it replaced."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(body)))
        stop = draw(st.integers(start, min(len(body), start + 12)))
        body = body[:start] + draw(st.binary(max_size=6) | st.sampled_from(PIECES)) + body[stop:]
    return body


def _body(draw: st.DrawFn, request: InboundRequest) -> InboundRequest:
    return replace(request, body=draw(changed_bodies(request.body)))


def _header(draw: st.DrawFn, request: InboundRequest) -> InboundRequest:
    if not request.headers:
        return request
    name = draw(st.sampled_from(sorted(request.headers)))
    value = draw(st.sampled_from(TEXT_CHANGES))(draw, request.headers[name])
    return _with(request, request.headers, {name: value})


def _exchanged(draw: st.DrawFn, request: InboundRequest) -> InboundRequest:
    """Return a request in which one header says what another should."""
    names = st.sampled_from(sorted(request.headers) or ["content-type"])
    one, other = draw(names), draw(names)
    return _with(request, request.headers, {one: request.headers.get(other, "")})


def _without(draw: st.DrawFn, request: InboundRequest) -> InboundRequest:
    gone = draw(st.sampled_from(sorted(request.headers) or [""]))
    return _with(request, {name: value for name, value in request.headers.items() if name != gone}, {})


def _with_another(draw: st.DrawFn, request: InboundRequest) -> InboundRequest:
    names = [
        *("authorization", "cookie", "content-encoding", "content-length", "transfer-encoding", "x-forwarded-host"),
        *("x-hubspot-signature", "x-hubspot-signature-version", "x-hub-signature", "webhook-id", "svix-id"),
        *("idempotency-key", "x-ms-dynamics-msg-size-exceeded", "x-hook-secret", "webhook-request-origin"),
    ]
    return _with(request, request.headers, {draw(st.sampled_from(names)): draw(st.sampled_from(HITS) | texts)})


def _with(request: InboundRequest, headers: Mapping[str, str], others: Mapping[str, str]) -> InboundRequest:
    return replace(request, headers={**headers, **others})


def _method(draw: st.DrawFn, request: InboundRequest) -> InboundRequest:
    return replace(request, method=draw(st.sampled_from(METHODS)))


def _address(draw: st.DrawFn, request: InboundRequest) -> InboundRequest:
    return replace(request, url=draw(st.sampled_from(ADDRESS_CHANGES))(draw, request.url))


ALTERATIONS: Final = (_body, _body, _header, _header, _header, _exchanged, _without, _with_another, _method, _address)


def _hit(draw: st.DrawFn, _text: str) -> str:
    return draw(st.sampled_from(HITS) | texts)


def _truncated(draw: st.DrawFn, text: str) -> str:
    return text[: draw(st.integers(0, len(text)))]


def _doubled(draw: st.DrawFn, text: str) -> str:
    """Return a value as HTTP joins two headers of one name, or as a sender repeats itself."""
    joint = draw(st.sampled_from([", ", ",", " ", ";", "\r\n"]))
    return draw(st.sampled_from([text + joint + text, text + joint + "0" * 64, "0" * 64 + joint + text]))


def _in_another_case(draw: st.DrawFn, text: str) -> str:
    return draw(st.sampled_from([text.upper(), text.lower(), text.swapcase()]))


def _one_character_off(draw: st.DrawFn, text: str) -> str:
    at = draw(st.integers(0, len(text)))
    return text[:at] + draw(st.characters() | st.sampled_from("=.,;: \t%é")) + text[at + draw(st.integers(0, 1)) :]


def _padded(draw: st.DrawFn, text: str) -> str:
    around = st.sampled_from(["", " ", "\t", "=", "==", '"', "\x00", "\xa0", "\ufeff", "é", "a" * 9000])
    return draw(around) + text + draw(around)


TEXT_CHANGES: Final[tuple[Text, ...]] = (
    *(_hit, _hit, _truncated, _doubled, _doubled, _in_another_case, _one_character_off, _one_character_off, _padded),
)


def _twice_in_query(draw: st.DrawFn, url: str) -> str:
    path, mark, query = url.partition("?")
    parts = query.split("&")
    part = draw(st.sampled_from(parts))
    name = part.partition("=")[0]
    return path + (mark or "?") + "&".join([*parts, draw(st.sampled_from([part, name, f"{name}=", f"{name}=x"]))])


def _less_of_query(draw: st.DrawFn, url: str) -> str:
    path, mark, query = url.partition("?")
    parts = query.split("&")
    del parts[draw(st.integers(0, len(parts) - 1))]
    return path + mark + "&".join(parts) if parts else path


def _escaped(draw: st.DrawFn, url: str) -> str:
    """Return an address in which one character is written by its percent code, or a code is none."""
    at = draw(st.integers(0, len(url)))
    code = draw(st.sampled_from(["%", "%zz", "%00", "%ff", "%2", "%C3%A9"]))
    return url[:at] + (f"%{ord(url[at]):02x}" if at < len(url) and draw(st.booleans()) else code) + url[at + 1 :]


def _with_more(draw: st.DrawFn, url: str) -> str:
    return url + draw(
        st.sampled_from(["&", "?", "#", "&a=b" * 200, "&" + "a" * 9000, "&=", "&é=ü", "&\x00", "/", "//"])
    )


ADDRESS_CHANGES: Final[tuple[Text, ...]] = (
    *(_hit, _twice_in_query, _less_of_query, _escaped, _escaped, _with_more, _one_character_off, _truncated),
)

KINDS: Final[Mapping[str, Callable[[Crm], st.SearchStrategy[InboundRequest]]]] = {
    "random": random_requests,
    "altered": altered_requests,
    "resigned": resigned_requests,
}
