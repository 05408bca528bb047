"""What happens to the headers that prove a request: another name, quotes, blanks, capitals, prefixes; pure."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import unquote

from service.operations.proof.twist import Try, Twist

PREFIXES: Final = ("sha256=", "sha1=", "sha512=", "v1=", "v1,", "Bearer ", "Basic ")
"""What commonly stands before a signature or token."""
CARRIERS_MAX: Final = 20
"""Headers that are tried as the one that carries a proof under another name."""

_NAME: Final = re.compile(r"[a-z0-9_-]{1,64}")
_HEX: Final = re.compile(r"[0-9A-Fa-f]{32,}")
_AROUND: Final = " \t\r\n\"'<>"
_PLAIN: Final = re.compile(
    "accept|accept-encoding|accept-language|cache-control|connection|content-encoding|content-length|content-type|"
    "date|host|origin|pragma|referer|traceparent|transfer-encoding|user-agent|via"
)
_HOPS: Final = ("x-forwarded", "cf-", "x-real", "x-request-id", "x-b3-")
_RENAMED: Final = re.compile(r"^(?:http-|x-amzn-remapped-|x-original-|x-forwarded-|x-)*")


def header_twists(headers: Mapping[str, str], proofs: Iterable[str]) -> Iterator[Twist]:
    """Yield what the headers may have been that the source reads its proof from, where ``proofs`` names these."""
    carriers = [name for name in headers if _may_carry(name)][:CARRIERS_MAX]
    wanted = tuple(proofs) or tuple(carriers)
    yield from _renamed(headers, wanted, [name for name in carriers if name not in wanted])
    shown = ", ".join(name for name in wanted if name in headers) or "it is proved by"
    do = f"find out what rewrites the header {shown}: a proxy, a gateway, or whatever captured the request"
    for says, change in _VALUES:
        yield Twist("header_value", says, do, _with_values(wanted, change))
    do = "set the prefix that the CRM sends, or find out what rewrites the header"
    for prefix in PREFIXES:
        shown = prefix.strip()
        yield Twist("prefix", f"{shown} stands once", do, _with_values(wanted, _once(prefix)))
        yield Twist(
            "prefix", f"{shown} does not stand before the signature", do, _with_values(wanted, _without(prefix))
        )
        yield Twist("prefix", f"{shown} stands before the signature", do, _with_values(wanted, _behind(prefix)))


def _may_carry(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and not _PLAIN.fullmatch(name) and not name.startswith(_HOPS)


def _renamed(headers: Mapping[str, str], wanted: tuple[str, ...], carriers: list[str]) -> Iterator[Twist]:
    """Yield other headers as those that are missing: first those of like names all at once, then any."""
    missing = [name for name in wanted if name not in headers]
    do = "let the proxy keep the header's name, or name that header in the configuration"
    alike = {name: _alike(name, carriers) for name in missing}
    found = {name: carrier for name, carrier in alike.items() if carrier is not None}
    if found:
        says = " and ".join(f"{carrier} counts as {name}" for name, carrier in found.items())
        yield Twist("header_name", f"the header {says}", do, _moving(found))
    for name in missing:
        for carrier in carriers:
            yield Twist("header_name", f"the header {carrier} counts as {name}", do, _moving({name: carrier}))


def _alike(name: str, carriers: list[str]) -> str | None:
    bare = _bare(name)
    return next((carrier for carrier in carriers if _bare(carrier) == bare), None)


def _bare(name: str) -> str:
    return _RENAMED.sub("", name.replace("_", "-"))


def _moving(carriers: Mapping[str, str]) -> Callable[[Try], Try]:
    def moved(to: Try) -> Try:
        headers = dict(to.request.headers)
        return to.told(headers | {name: headers[carrier] for name, carrier in carriers.items()})

    return moved


def _with_values(names: tuple[str, ...], change: Callable[[str], str]) -> Callable[[Try], Try]:
    def changed(to: Try) -> Try:
        headers = dict(to.request.headers)
        return to.told(headers | {name: change(headers[name]) for name in names if name in headers})

    return changed


def _cased(case: Callable[[str], str]) -> Callable[[str], str]:
    """Change the case of hexadecimal digits alone: names and base64 keep theirs."""
    return lambda value: _HEX.sub(lambda digits: case(digits[0]), value)


def _once(prefix: str) -> Callable[[str], str]:
    def once(value: str) -> str:
        while value.startswith(prefix * 2):
            value = value.removeprefix(prefix)
        return value

    return once


def _without(prefix: str) -> Callable[[str], str]:
    return lambda value: value.removeprefix(prefix)


def _behind(prefix: str) -> Callable[[str], str]:
    return lambda value: value if value.startswith(prefix) else prefix + value


def _inner_quotes(value: str) -> str:
    return value.replace('"', "").replace("'", "")


_VALUES: Final[tuple[tuple[str, Callable[[str], str]], ...]] = (
    ("the header has no quotes or blanks around it", lambda value: value.strip(_AROUND)),
    ("the header has no quotes in it", _inner_quotes),
    ("its hexadecimal digits are small letters", _cased(str.lower)),
    ("its hexadecimal digits are capitals", _cased(str.upper)),
    ("the header, which came twice, counts once", lambda value: value.partition(", ")[0]),
    ("the header is percent-decoded", unquote),
    ("blanks in the header are +", lambda value: value.replace(" ", "+")),
    ("the header is in plain base64", lambda value: value.replace("-", "+").replace("_", "/")),
)
