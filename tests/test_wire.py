"""What HTTP answers say, whoever gave them."""

import httpx
import pytest

from service.wire import bounded_body, json_or_none, retry_after_s

DATE = "Mon, 02 Mar 2026 09:30:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "9999999"}, None),
        ({"retry-after": "Mon, 02 Mar 2026 09:30:12 GMT", "date": DATE}, 12.0),
        ({"retry-after": "Mon, 02 Mar 2026 09:29:00 GMT", "date": DATE}, 0.0),
        ({"retry-after": "Mon, 02 Mar 2026 09:30:12 GMT"}, None),
        ({"retry-after": "Mon, 02 Mar 2026 09:30:12 -0000", "date": DATE}, None),
    ],
)
def test_how_long_an_answer_asks_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(httpx.Response(429, headers=headers)) == seconds


@pytest.mark.parametrize(("body", "document"), [(b'{"a":1}', {"a": 1}), (b"", None), (None, None), (b"{", None)])
def test_a_body_that_is_no_json_is_nothing(body: bytes | None, document: object) -> None:
    assert json_or_none(body) == document


@pytest.mark.anyio
async def test_a_body_is_read_up_to_its_bound() -> None:
    assert await bounded_body(httpx.Response(200, content=b"four"), 4) == b"four"
    assert await bounded_body(httpx.Response(200, content=b"four"), 3) is None
