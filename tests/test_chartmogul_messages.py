"""ChartMogul's own message is told to people, in whatever shape it came, without any value that was sent."""

from collections.abc import Callable
from typing import Final

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import chartmogul as room
from service.model import Json, Outcome, OutcomeKind
from tests.support.sandbox import contact_uuid
from tests.support.sink import sink
from tests.support.wire import answering, http_answer

pytestmark = pytest.mark.anyio

UUID: Final = contact_uuid(1)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b'{"error":"Attribute custom is invalid"}', "Attribute custom is invalid"),
        (b'{"message":"Missing","param":"key"}', "Missing (key)"),
        (b'{"errors":{"position":"must be an integer"}}', '{"position":"must be an integer"}'),
        (b'{"position":["is odd"],"error_details":[]}', '{"position":["is odd"],"error_details":[]}'),
        (b'{"message":{"position":1}}', '{"message":{"position":1}}'),
        (b"[1]", "an answer that is not JSON"),
        (b"\xff\xfe", "an answer that is not JSON"),
        (b'{"message":"' + b"much " * 500 + b'"}', ("much " * 500)[:300]),
    ],
)
async def test_the_message_is_found_in_every_shape_of_error(body: bytes, detail: str) -> None:
    async with (
        answering(http_answer(body, status="422 Unprocessable Entity")) as wire,
        sink(wire.base_url) as chartmogul,
    ):
        assert await chartmogul.patch(UUID, {"title": "CFO"}) == Outcome(OutcomeKind.REJECTED, 422, detail)


SENT: Final[dict[str, Json]] = {
    "first_name": "Ann",
    "last_name": "Anna Berg",
    "email": "Ann.Berg@Example.com",
    "phone": 493012345678,
    "notes": 'Says "hi"\nto O\'Brien & sons',
    "title": "x",
    "twitter": " @annaberg ",
    "custom": [{"key": "Country", "value": "DE"}, {"key": "VIP", "value": True}, {"key": "Plan", "value": None}],
}


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"message": "Anna Berg is taken", "param": "last_name"}, "… is taken (last_name)"),
        ({"message": "ann.berg@example.com is no address"}, "… is no address"),
        ({"message": "@annaberg is no URL"}, "… is no URL"),
        ({"message": "493012345678 and x, true, None"}, "… and x, true, None"),
        ({"message": "Country: 'DE' is undefined, not de"}, "Country: '…' is undefined, not …"),
        ({"errors": {"notes": [SENT["notes"]]}}, '{"notes":["…"]}'),
        ({"error": "Says &quot;hi&quot;\nto O&#x27;Brien &amp; sons?"}, "…?"),
        # Cut only after it was taken out, so that no part of it is left at the end.
        ({"message": "." * 290 + "Ann.Berg@Example.com"}, "." * 290 + "…"),
    ],
)
async def test_a_message_that_quotes_what_was_sent_is_told_without_it(body: Json, detail: str) -> None:
    answer = http_answer(orjson.dumps(body), status="422 Unprocessable Entity")
    async with answering(answer) as wire, sink(wire.base_url) as chartmogul:
        assert (await chartmogul.patch(UUID, SENT)).detail == detail


value_texts = st.text("abcABC \"&'\n.@1", min_size=4, max_size=12).filter(lambda text: len(text.strip()) >= 4)


@given(
    st.lists(value_texts, min_size=1, max_size=4), st.lists(st.integers(0, 3), max_size=6), st.sampled_from(["", " "])
)
@pytest.mark.parametrize("shape", [lambda text: {"message": text}, lambda text: {"errors": {"title": [text]}}])
def test_no_message_shows_a_sent_value(
    shape: Callable[[str], dict[str, Json]], values: list[str], quoted: list[int], gap: str
) -> None:
    text = gap.join(values[number % len(values)] for number in quoted)
    detail = room._without_values(room._text(shape(text), b"{}"), {f"custom.{n}": it for n, it in enumerate(values)})
    for value in values:
        assert value.strip().lower() not in detail.lower()
        assert orjson.dumps(value.strip()).decode()[1:-1].lower() not in detail.lower()
