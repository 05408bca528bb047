"""API keys: HTTP Basic with the key as user name, and an empty password or the key again.

https://dev.chartmogul.com/docs/authentication
"""

import base64
import binascii
from collections.abc import Iterable
from enum import Enum
from typing import Final

BAD_PREFIX: Final = "bad"
READ_ONLY_PREFIX: Final = "readonly"


class Access(Enum):
    """What a key may do."""

    NONE = "none"
    READ = "read"
    WRITE = "write"


class Keys:
    """Which keys are good, and for what.

    Given ``keys`` or ``read_only_keys``, exactly those are. Otherwise any key is, but for those that start with
    ``bad``; one that starts with ``readonly`` may only read.
    """

    def __init__(self, keys: Iterable[str] = (), *, read_only_keys: Iterable[str] = ()) -> None:
        self._writing = frozenset(keys)
        self._reading = frozenset(read_only_keys)

    def access(self, authorization: bytes | None) -> Access:
        """What the sender of this header may do."""
        key = _key(authorization)
        if not key:
            return Access.NONE
        if not self._writing and not self._reading:
            if key.startswith(BAD_PREFIX):
                return Access.NONE
            return Access.READ if key.startswith(READ_ONLY_PREFIX) else Access.WRITE
        if key in self._writing:
            return Access.WRITE
        return Access.READ if key in self._reading else Access.NONE


def _key(authorization: bytes | None) -> str:
    if authorization is None or authorization[:6].lower() != b"basic ":
        return ""
    try:
        key, _, password = base64.b64decode(authorization[6:].strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return key if password in ("", key) else ""
