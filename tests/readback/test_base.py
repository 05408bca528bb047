"""What may stand under ``read_back`` whatever the CRM."""

import pytest

from service.readback.base import TokenSpec
from tests.readback.directory import TOKEN


@pytest.mark.parametrize(
    "url",
    [
        *("https://api.hubapi.com", "http://10.0.0.1", "http://127.0.0.1.evil.example", "http://127.0.0.1/x"),
        *("file:///etc", "", "http://[::1", "http://127.0.0.1:abc", "http://127.0.0.1:99999", "http://127.0.0.1:0"),
        *("http://me@127.0.0.1", "http://127.0.0.1?x=1", "http://127.0.0.1/?x=1", "http://127.0.0.1#x"),
    ],
)
def test_a_base_url_leads_to_this_machine_alone(url: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        TokenSpec(base_url=url, token=TOKEN)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8090", "http://localhost/", "http://[::1]:8090"])
def test_a_base_url_of_this_machine_is_taken(url: str) -> None:
    assert TokenSpec(base_url=url, token=TOKEN).base_url == url.rstrip("/")


@pytest.mark.parametrize("token", ["", "pat eu1", "pat-eu1\n", "pat-é", "pat\x00"])
def test_a_token_that_no_header_can_carry_is_refused_at_once(token: str) -> None:
    """Else every read of a record would be a fault of ours, and a dead letter in the end."""
    with pytest.raises(ValueError, match="token") as refused:
        TokenSpec(token=token)
    assert "pat" not in str(refused.value)
