"""Who has the token is let through, who has not is told nothing, and where there is none there is no door."""

import pytest
from fastapi import Request
from pydantic import SecretStr
from structlog.testing import capture_logs

from service.errors import AccessDenied
from service.web.access import LOG_EVERY, Access
from tests.support.clock import Clock

pytestmark = pytest.mark.anyio

TOKEN = "0c6d1b7e-4f52-4a7e-9d1c-2b8f5e6a7c90"


def asking(*authorization: str | bytes) -> Request:
    """A request with these headers of authorization."""
    values = [one if isinstance(one, bytes) else one.encode() for one in authorization]
    headers = [(b"host", b"hooks.northwind.example"), *((b"authorization", value) for value in values)]
    return Request({"type": "http", "method": "GET", "path": "/api/v1/config", "headers": headers})


@pytest.fixture
def access(clock: Clock) -> Access:
    return Access(SecretStr(TOKEN), clock=clock)


@pytest.mark.parametrize("shown", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER  {TOKEN} "])
async def test_who_shows_the_token_is_let_through(access: Access, shown: str) -> None:
    """The scheme is read in any case, as HTTP has it."""
    with capture_logs() as lines:
        await access(asking(shown))
    assert lines == []


@pytest.mark.parametrize("token", ["gizli-söz-à", "пароль-Å", " 0c6d1b7e"[1:] + "\u00a0x\u00c5"])
async def test_a_token_may_have_any_letters(clock: Clock, token: str) -> None:
    """Sent as UTF-8; what ends some letters there is a blank in Latin-1, as which headers are read."""
    access = Access(SecretStr(token), clock=clock)
    await access(asking(f"Bearer {token}".encode()))
    with pytest.raises(AccessDenied):
        await access(asking(f"Bearer {token}"[:-1].encode()))


@pytest.mark.parametrize(
    "shown",
    [
        [],
        [""],
        ["Bearer"],
        ["Bearer "],
        [TOKEN],
        [f"Basic {TOKEN}"],
        [f"Token {TOKEN}"],
        [f"Bearer {TOKEN[:-1]}"],
        [f"Bearer {TOKEN}x"],
        [f"Bearer {TOKEN.upper()}"],
        [f"Bearer {TOKEN}, Bearer {TOKEN}"],
        [f"Bearer {TOKEN}", f"Bearer {TOKEN}"],
        [b"Bearer \xff\xfe\xc3"],
        ["Bearer " + "a" * 60_000],
    ],
)
async def test_whoever_shows_anything_else_is_refused(access: Access, shown: list[str | bytes]) -> None:
    with pytest.raises(AccessDenied) as refused:
        await access(asking(*shown))
    assert TOKEN not in str(refused.value) + refused.value.hint + repr(access)


async def test_refusals_are_counted_and_logged_once_a_second_at_most(access: Access, clock: Clock) -> None:
    """Whoever tries a million tokens must not fill the disk, nor go unnoticed; what they tried is nobody's business."""
    with capture_logs() as lines:
        for seconds in (0, 0, 0, LOG_EVERY.total_seconds() / 2, LOG_EVERY.total_seconds() / 2, 0, 60):
            clock.advance(seconds)
            with pytest.raises(AccessDenied):
                await access(asking("Bearer letmein"))
    assert lines == [{"event": "admin_refused", "log_level": "warning", "count": count} for count in (1, 4, 2)]
