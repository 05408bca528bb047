"""Who may use the admin API: whoever has ``ADMIN_TOKEN``, and nobody where it is not set."""

import hmac
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog
from fastapi import Request
from pydantic import SecretStr

from service.errors import AccessDenied

LOG_EVERY: Final = timedelta(seconds=1)
"""Refusals are logged no more often than this; each line says how many there were since the one before."""

log = structlog.get_logger("admin")


class Access:
    """Lets a request through if it shows the token. What it compares takes the same time however much of it is right.

    A token is long enough not to be guessed, so that nobody is locked out or slowed; what was refused is counted.
    """

    def __init__(self, token: SecretStr, *, clock: Callable[[], datetime]) -> None:
        self._token = token.get_secret_value().encode()
        self._clock = clock
        self._refused = 0
        self._logged_at: datetime | None = None

    async def __call__(self, request: Request) -> None:
        """Return only for a request with ``Authorization: Bearer TOKEN``, once; else raise AccessDenied."""
        shown = request.headers.getlist("authorization")
        scheme, _, token = (shown[0] if len(shown) == 1 else "").partition(" ")
        # Blanks alone: read as Latin-1, a byte of some letter may look like another space.
        right = hmac.compare_digest(token.strip(" \t").encode("latin-1"), self._token)
        if not right or scheme.lower() != "bearer":
            self._refuse()
            raise AccessDenied("the admin token is missing or wrong", hint="send Authorization: Bearer ADMIN_TOKEN")

    def _refuse(self) -> None:
        self._refused += 1
        now = self._clock()
        if self._logged_at is None or now - self._logged_at >= LOG_EVERY:
            log.warning("admin_refused", count=self._refused)
            self._refused, self._logged_at = 0, now
