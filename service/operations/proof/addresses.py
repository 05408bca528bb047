"""What proxies do to an address: another scheme, host or port, a path cut or lengthened, a query written anew; pure."""

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import permutations
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

from service.model import InboundRequest
from service.operations.proof.twist import Try, Twist

PARAMETERS_MAX: Final = 4
"""Parameters of a query that are tried in every order."""

_ORIGIN: Final = re.compile(r"https?://(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_BASE: Final = re.compile(_ORIGIN.pattern + "[A-Za-z0-9._~/-]{0,100}")
_PORT: Final = re.compile(r":[0-9]+$")
_ESCAPE: Final = re.compile("%[0-9A-Fa-f]{2}")
_SLASHES: Final = re.compile("/{2,}")
_HOST_HEADERS: Final = ("x-forwarded-host", "host", "x-original-host")
_TARGET_HEADERS: Final = (
    "x-original-uri",
    "x-original-url",
    "x-forwarded-uri",
    "x-rewrite-url",
    "x-envoy-original-path",
    "x-forwarded-path",
)
"""Where proxies leave the path and query that they were asked for."""
_PREFIX_HEADERS: Final = ("x-forwarded-prefix", "x-script-name")
_PORTS: Final = ("443", "80", "8443", "8080")
_WEBHOOKS: Final = "/webhooks/"
_UNTOUCHED: Final = "let the proxy pass {} on untouched"


class Address(NamedTuple):
    """An address in its three parts; ``query`` has its question mark, and is blank where there is none."""

    origin: str
    path: str
    query: str

    def __str__(self) -> str:
        return self.origin + self.path + self.query


def split(url: str) -> Address:
    """Take any text apart as an address; put together again it is the same text."""
    rest, mark, query = url.partition("?")
    scheme, separator, after = rest.partition("://")
    if not separator:
        return Address("", rest, mark + query)
    host, slash, path = after.partition("/")
    return Address(scheme + separator + host, slash + path, mark + query)


def as_seen(request: InboundRequest, public_url: str | None) -> str:
    """Return the address that the service takes a request's for: ``PUBLIC_URL`` counts, where it is set."""
    if public_url is None:
        return request.url
    _, found, target = request.url.partition(_WEBHOOKS)
    if found:
        return public_url + _WEBHOOKS + target
    captured = split(request.url)
    return public_url + captured.path + captured.query


def address_twists(seen: str, captured: InboundRequest) -> Iterator[Twist]:
    """Yield what the address may have been before a proxy, or what PUBLIC_URL should be."""
    address = split(seen)
    yield from _captured(captured.url)
    yield from _origins(address, captured.headers)
    yield from _paths(address, captured.headers)
    yield from _queries(address.query)


def _captured(captured: str) -> Iterator[Twist]:
    base, found, _ = captured.partition(_WEBHOOKS)
    do = f"set PUBLIC_URL to {base}" if found and _BASE.fullmatch(base) else "set PUBLIC_URL to what the CRM was given"
    says = "the address is the one that was captured, not the one that PUBLIC_URL makes"
    yield Twist("public_url", says, do, _at(captured))


def _at(url: str) -> Callable[[Try], Try]:
    return lambda to: to.at(url)


def _origins(address: Address, headers: Mapping[str, str]) -> Iterator[Twist]:
    """Yield other origins, each once and named by what is other in it."""
    told: set[str] = {address.origin}
    for origin in _candidates(address.origin, headers):
        if origin in told or not _ORIGIN.fullmatch(origin):
            continue
        told.add(origin)
        name = _difference(address.origin, origin)
        secure = origin.startswith("https")
        do = (
            f"set PUBLIC_URL so that it begins with {origin}" if secure else "give the CRM an https address: PUBLIC_URL"
        )
        yield Twist(name, f"the address begins with {origin}", do, _with_origin(origin))


def _candidates(origin: str, headers: Mapping[str, str]) -> Iterator[str]:
    scheme, _, host = origin.partition("://")
    other = "http" if scheme == "https" else "https"
    bare = _PORT.sub("", host)
    yield f"{other}://{host}"
    yield f"{scheme}://{bare}"
    for named in _hosts(headers):
        yield f"https://{named}"
        yield f"https://{_PORT.sub('', named)}"
        yield f"http://{named}"
    yield f"{other}://{bare}"
    ports = (headers.get("x-forwarded-port", ""), *_PORTS)
    for port in ports:
        yield f"{scheme}://{bare}:{port}"
        yield f"{other}://{bare}:{port}"
    yield f"{scheme}://{host.lower()}"


def _hosts(headers: Mapping[str, str]) -> Iterator[str]:
    for name in _HOST_HEADERS:
        if name in headers:
            yield headers[name].partition(",")[0].strip()
    yield from re.findall(r'host="?([^;,"\s]+)', headers.get("forwarded", "")[:1000], re.IGNORECASE)[:1]


def _difference(seen: str, other: str) -> str:
    scheme, _, host = seen.partition("://")
    other_scheme, _, other_host = other.partition("://")
    if host == other_host:
        return "scheme"
    same = _PORT.sub("", host) == _PORT.sub("", other_host)
    return "port" if same and scheme == other_scheme else "host"


def _with_origin(origin: str) -> Callable[[Try], Try]:
    return lambda to: to.at(str(split(to.request.url)._replace(origin=origin)))


def _with_path(change: Callable[[str], str]) -> Callable[[Try], Try]:
    def changed(to: Try) -> Try:
        address = split(to.request.url)
        return to.at(str(address._replace(path=change(address.path))))

    return changed


def _paths(address: Address, headers: Mapping[str, str]) -> Iterator[Twist]:
    do = _UNTOUCHED.format("the path") + ", and give the CRM exactly PUBLIC_URL/webhooks/NAME"
    for says, change in (
        ("the path ends without its slash", lambda path: path.rstrip("/")),
        ("the path ends with a slash", lambda path: path if path.endswith("/") else path + "/"),
        ("the path has no double slash", lambda path: _SLASHES.sub("/", path)),
        ("the path begins with a double slash", lambda path: path if path.startswith("//") else "/" + path),
        ("the path has nothing before /webhooks/", lambda path: _WEBHOOKS + path.partition(_WEBHOOKS)[2]),
        ("the path is percent-decoded", unquote),
    ):
        yield Twist("path", says, do, _with_path(change))
    for name in _PREFIX_HEADERS:
        if name in headers:
            prefix = "/" + headers[name].strip("/ ")
            add = f"add to PUBLIC_URL the prefix that the header {name} has"
            yield Twist("path", f"the path begins with the prefix in {name}", add, _with_path(_prefixed(prefix)))
    for name in _TARGET_HEADERS:
        if name in headers:
            original = split(headers[name])
            cause = "query" if original.path == address.path else "path"
            says = f"the {cause} is the one in the header {name}"
            yield Twist(cause, says, _UNTOUCHED.format(f"the {cause}"), _with_target(original))


def _prefixed(prefix: str) -> Callable[[str], str]:
    return lambda path: prefix + path


def _with_target(original: Address) -> Callable[[Try], Try]:
    return lambda to: to.at(str(original._replace(origin=split(to.request.url).origin)))


def _queries(query: str) -> Iterator[Twist]:
    do = _UNTOUCHED.format("the query")
    if not query:
        return
    for says, change in _SPELLINGS:
        yield Twist("query", says, do, _with_query(change))
    parameters = query[1:].split("&")
    if len(parameters) <= PARAMETERS_MAX:
        orders = list(permutations(parameters))
    else:
        orders = [tuple(sorted(parameters)), tuple(reversed(parameters))]
    for order in orders:
        yield Twist("query", "the parameters of the query stand in another order", do, _with_query(_joined(order)))
    for place in range(min(len(parameters), PARAMETERS_MAX)):
        rest = (*parameters[:place], *parameters[place + 1 :])
        yield Twist("query", f"the query lacks its parameter {place + 1}", do, _with_query(_joined(rest)))


def _with_query(change: Callable[[str], str]) -> Callable[[Try], Try]:
    def changed(to: Try) -> Try:
        address = split(to.request.url)
        return to.at(str(address._replace(query=change(address.query))))

    return changed


def _joined(parameters: tuple[str, ...]) -> Callable[[str], str]:
    return lambda _query: "?" + "&".join(parameters)


_SPELLINGS: Final[tuple[tuple[str, Callable[[str], str]], ...]] = (
    ("there is no query", lambda _query: ""),
    ("the query is percent-decoded", unquote),
    ("the query is percent-encoded", lambda query: "?" + quote(query[1:], safe="=&%~")),
    ("the query is percent-encoded but for : and /", lambda query: "?" + quote(query[1:], safe="=&%~:/")),
    ("blanks in the query are +", lambda query: query.replace("%20", "+")),
    ("blanks in the query are %20", lambda query: query.replace("+", "%20")),
    ("percent codes of the query are in capitals", lambda query: _ESCAPE.sub(lambda code: code[0].upper(), query)),
    ("percent codes of the query are in small letters", lambda query: _ESCAPE.sub(lambda code: code[0].lower(), query)),
)
