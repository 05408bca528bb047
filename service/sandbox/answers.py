"""The shapes of what is sent back: status, headers and body as recorded, and as documented where not recorded.

Recordings: the test fixtures of https://github.com/chartmogul/chartmogul-ruby and chartmogul-go. A success says
``Access-Control-Allow-Credentials``, an error does not; neither names a charset.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import orjson

Headers = Sequence[tuple[bytes, bytes]]

_JSON: Final = (b"content-type", b"application/json")
_HTML: Final = (b"content-type", b"text/html")
_CREDENTIALS: Final = (b"access-control-allow-credentials", b"true")
_PAGE: Final = (
    "<html>\r\n<head><title>{title}</title></head>\r\n<body><center><h1>{title}</h1></center></body>\r\n</html>\r\n"
)

RATE_LIMITED: Final = "Your request rate has exceeded our rate limit."
OVERLOADED: Final = "Too many parallel connections."
NO_KEY: Final = "No valid API key provided"
BAD_EMAIL: Final = "The value provided does not appear to be a valid email address."


class Answer(NamedTuple):
    """One HTTP answer, ``content-length`` left to the sender."""

    status: int
    headers: Headers
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the status is one of 2xx."""
        return 200 <= self.status < 300  # noqa: PLR2004  # the bounds of the class are its definition


class Refused(Exception):
    """The request is answered with an error, and nothing was changed."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def success(document: object, *, status: int = 200) -> Answer:
    """A JSON answer to a request that worked."""
    return Answer(status, (_CREDENTIALS, _JSON), orjson.dumps(document))


def error(status: int, message: str, param: str | None = None, *, retry_after_s: int | None = None) -> Answer:
    """The API's commonest error shape: ``{"code", "message", "param"}``."""
    headers: Headers = (_JSON,) if retry_after_s is None else (_JSON, _retry_after(retry_after_s))
    return Answer(status, headers, orjson.dumps({"code": status, "message": message, "param": param}))


def page(status: int, title: str, *, retry_after_s: int | None = None) -> Answer:
    """An HTML page, as gateways and unknown routes answer."""
    headers: Headers = (_HTML,) if retry_after_s is None else (_HTML, _retry_after(retry_after_s))
    return Answer(status, headers, _PAGE.format(title=f"{status} {title}").encode())


def nothing(status: int, *, retry_after_s: int | None = None) -> Answer:
    """A status without any body."""
    return Answer(status, () if retry_after_s is None else (_retry_after(retry_after_s),), b"")


def error_text(status: int, text: str) -> Answer:
    """The other error shape: ``{"error"}``."""
    return Answer(status, (_JSON,), orjson.dumps({"error": text}))


def no_contact(uuid: str) -> Answer:
    """404 for a contact. The recorded message leaves the ``con_`` prefix out."""
    return error(404, f'Contact "{uuid.removeprefix("con_")}" does not exist', "contact_uuid")


def no_customer(uuid: str) -> Answer:
    """404 for a customer, with the recorded name of the parameter."""
    return error(404, f'Customer "{uuid.removeprefix("cus_")}" does not exist', "customer_id")


def _retry_after(seconds: int) -> tuple[bytes, bytes]:
    return b"retry-after", str(seconds).encode()
