"""What configured secrets may have been meant as, and whose secret it was instead; pure."""

import base64
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal, get_args, get_origin

from pydantic import BaseModel

from service.operations.credentials import secrets_of, with_secrets
from service.operations.proof.twist import Try, Twist
from service.sources.base import Source, Strict

_PASTED: Final = " \t\r\n\"'"
_ENCODINGS: Final[tuple[tuple[str, Callable[[str], str]], ...]] = (
    ("the secret is base64 of the one that counts", lambda text: base64.b64decode(text, validate=True).decode()),
    ("the secret is the hexadecimal form of the one that counts", lambda text: bytes.fromhex(text).decode()),
    ("the secret is to be given as base64", lambda text: base64.b64encode(text.encode()).decode()),
    ("the secret is to be given in hexadecimal digits", lambda text: text.encode().hex()),
    ("the secret is base64 without its prefix", lambda text: text.partition("_")[2]),
)


def secret_twists(auth: Strict) -> Iterator[Twist]:
    """Yield what the configured secrets may have been meant as, and the other choices of each setting beside them."""
    do = "take them off: a file's last line break is no part of a secret, and YAML needs no quotes in quotes"
    says = "the secret has no blanks or quotes around it"
    yield Twist("secret_blanks", says, do, _changing(lambda text: text.strip(_PASTED)))
    do = "give the CRM the secret anew, without line break or blank"
    for end, what in (("\n", "a line break"), (" ", "a blank"), ("\r\n", "CR and LF")):
        yield Twist("secret_blanks", f"the CRM's secret ends with {what}", do, _changing(_ending(end)))
    for says, change in _ENCODINGS:
        yield Twist("secret_encoding", says, "give the secret in that form", _changing(change))
    for path, choice in _choices(auth):
        at = ".".join(("auth", *path))
        shown = choice[0] if isinstance(choice, tuple) else choice
        yield Twist("setting", f"{at} is {shown}", f"set {at}: {shown}", _setting(auth, path, choice))


def other_secret_twists(others: Mapping[str, Source[Any]]) -> Iterator[Twist]:
    """Yield the other sources, each as it is, and its secrets with the present source's scheme."""
    for name, other in others.items():
        if other.auth is None:  # it would take anything for proved
            continue
        says, do = f"it is signed with the secret of source {name}", f"give the CRM the address of source {name}"
        yield Twist("other_secret", says, f"{do}, or this source's secret", _as(other))
        for text in dict.fromkeys(secrets_of(other.auth)):
            yield Twist("other_secret", says, f"{do}, or this source's secret", _changing(_always(text)))


def _changing(change: Callable[[str], str]) -> Callable[[Try], Try]:
    return lambda to: to.proved_by(with_secrets(to.source.auth, change))


def _ending(end: str) -> Callable[[str], str]:
    return lambda text: text + end


def _always(text: str) -> Callable[[str], str]:
    return lambda _text: text


def _as(other: Source[Any]) -> Callable[[Try], Try]:
    return lambda to: Try(other, to.request, to.now)


def _choices(value: BaseModel) -> Iterator[tuple[tuple[str, ...], object]]:
    """Yield each other choice of a setting that has a fixed list of them, with the keys that lead to it."""
    for name, field in type(value).model_fields.items():
        present = getattr(value, name)
        if isinstance(present, BaseModel):
            yield from (((name, *path), choice) for path, choice in _choices(present))
        elif get_origin(field.annotation) is Literal:
            yield from (((name,), choice) for choice in get_args(field.annotation) if choice != present)
        elif isinstance(present, tuple):
            listed = next((one for one in get_args(field.annotation) if get_origin(one) is Literal), None)
            yield from (((name,), (choice,)) for choice in get_args(listed) if choice not in present)


def _setting(auth: Strict, path: tuple[str, ...], choice: object) -> Callable[[Try], Try]:
    return lambda to: to.proved_by(_with(to.source.auth, auth, path, choice))


def _with(value: Any, like: Any, path: tuple[str, ...], choice: object) -> Any:  # noqa: ANN401  # a part of ``auth``
    """Return a part of ``auth`` with another choice; raise ValueError where another source's has no such setting."""
    if type(value) is not type(like):
        raise ValueError("another scheme")
    inner = choice if len(path) == 1 else _with(getattr(value, path[0]), getattr(like, path[0]), path[1:], choice)
    return value.model_copy(update={path[0]: inner})
