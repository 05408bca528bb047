"""Access tokens for CRMs whose own run out: got by a grant, kept until shortly before their end."""

from datetime import datetime, timedelta
from typing import Final

from pydantic import SecretStr

from service.model import Json
from service.readback.base import Grant, ReadError

EARLY: Final = timedelta(seconds=60)
"""How long before its end a token is no longer used."""
LIFE_S_MAX: Final = 86_400.0
"""More is not believed of a token, nor less than ``EARLY``."""
TOKEN_MAX: Final = 8192
"""Characters of a token."""


class Token:
    """The present access token of one connection; never shown."""

    def __init__(self, grant: Grant) -> None:
        self.grant = grant
        self._token: SecretStr | None = None
        self._until: datetime | None = None

    def valid(self, now: datetime) -> str | None:
        """Return the token, None where there is none that lasts."""
        if self._token is None or self._until is None or now >= self._until:
            return None
        return self._token.get_secret_value()

    def take(self, document: Json, *, now: datetime) -> None:
        """Keep the token of a grant's answer. Raises ReadError where it has none: some refuse with status 200."""
        found = document if isinstance(document, dict) else {}
        token, life_s = found.get("access_token"), found.get("expires_in", 0)
        if (
            not isinstance(token, str)
            or not token.isascii()
            or not token.isprintable()
            or not 0 < len(token) <= TOKEN_MAX
        ):
            raise ReadError("the answer has no access_token")
        lasts = float(life_s) if isinstance(life_s, int | float) and not isinstance(life_s, bool) else 0.0
        self._token = SecretStr(token)
        self._until = now + max(timedelta(seconds=max(0.0, min(lasts, LIFE_S_MAX))) - EARLY, timedelta(0))

    def forget(self, token: str) -> None:
        """Use a token no longer that the CRM refused before its time; one that was got since stays."""
        if self._token is not None and self._token.get_secret_value() == token:
            self._token = self._until = None
