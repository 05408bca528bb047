"""ChartMogul as a doctor sees it: who answers, by what certificate, at what time, and to which key."""

from datetime import timedelta
from pathlib import Path

import pytest

from service.main import real_clock
from service.operations.doctor.sink import of_chartmogul
from service.sandbox import Fault, FaultKind
from tests.support.doctor import of, one_of, reach_of
from tests.support.sandbox import RunningSandbox
from tests.support.service import NOWHERE, Shifted
from tests.support.tls import tls_server

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("seconds", "status", "seen"),
    [(0, "ok", "0 s"), (-25, "ok", "25 s behind"), (60, "warn", "60 s ahead of"), (-600, "fail", "600 s behind")],
)
async def test_a_clock_that_is_off_is_named_with_how_much(
    sandbox: RunningSandbox, seconds: int, status: str, seen: str
) -> None:
    """The other clock tells whole seconds only, and the server writes its header ahead of time."""
    shifted = Shifted()
    shifted.advance(seconds)
    found = one_of(await of_chartmogul(reach_of(sandbox.base_url), clock=shifted), "clock")
    assert found.status == status
    number, _, where = seen.partition(" s")
    told = found.seen.removeprefix("our clock is ").partition(" s")
    assert abs(int(told[0]) - int(number)) <= 3
    assert told[2].startswith(where)
    assert found.seen.endswith("ChartMogul's")


ANSWERS = {
    401: ("fail", "account refused (401)"),
    402: ("fail", "account refused (402)"),
    429: ("warn", "rate limited (429)"),
    503: ("warn", "overloaded (503)"),
    500: ("fail", "server error (500)"),
}


@pytest.mark.parametrize("status", ANSWERS)
async def test_what_chartmogul_says_of_a_key_is_told_in_words(sandbox: RunningSandbox, status: int) -> None:
    sandbox.add_faults(Fault(kind=FaultKind.STATUS, status=status, path="/v1/ping"))
    expected, seen = ANSWERS[status]
    found = one_of(await of_chartmogul(reach_of(sandbox.base_url), clock=real_clock), "account")
    assert (found.status, found.seen.startswith(seen)) == (expected, True)


async def test_a_key_is_refused_by_name_and_never_shown(sandbox: RunningSandbox) -> None:
    found = one_of(await of_chartmogul(reach_of(sandbox.base_url, key="bad-key-77"), clock=real_clock), "account")
    assert (found.status, found.about, "bad-key-77" in repr(found)) == ("fail", "default", False)
    assert "CHARTMOGUL_API_KEY" in found.hint


async def test_no_key_is_shown_where_nobody_answers(sandbox: RunningSandbox) -> None:
    (found,) = await of_chartmogul(reach_of(NOWHERE), clock=real_clock)
    assert (found.check, found.status, found.seen) == (
        "chartmogul",
        "fail",
        f"{NOWHERE}: nobody answers: ConnectError",
    )
    sandbox.add_faults(Fault(kind=FaultKind.TIMEOUT_BEFORE, delay_s=20))
    (found,) = await of_chartmogul(reach_of(sandbox.base_url, connect_s=0.1, read_s=0.2), clock=real_clock)
    assert (found.status, "nobody answers" in found.seen) == ("fail", True)
    sandbox.clear_faults()


@pytest.mark.parametrize(("days", "status"), [(90, "ok"), (5, "warn")])
async def test_how_long_the_certificate_lasts_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, status: str
) -> None:
    async with tls_server(tmp_path, ends=real_clock() + timedelta(days=days, hours=1)) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
        findings = await of_chartmogul(reach_of(server.url), clock=real_clock)
        address = one_of(findings, "chartmogul")
        assert (address.status, address.seen.endswith(f"ends in {days} days")) == (status, True)
        assert one_of(findings, "account").seen == "account refused (401): {}"
        assert b"authorization" not in server.heard[0].lower(), "the first look shows no key"


async def test_a_certificate_that_is_not_accepted_is_named_and_no_key_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with tls_server(tmp_path, ends=real_clock() + timedelta(days=90)) as server:
        (found,) = await of_chartmogul(reach_of(server.url), clock=real_clock)
        assert (found.status, "its certificate is not accepted: self-signed" in found.seen) == ("fail", True)
    async with tls_server(tmp_path, ends=real_clock() - timedelta(days=1)) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
        (found,) = await of_chartmogul(reach_of(server.url), clock=real_clock)
        assert "its certificate is not accepted: certificate has expired" in found.seen
        assert server.heard == []


async def test_a_time_that_is_none_is_not_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with tls_server(tmp_path, ends=real_clock() + timedelta(days=90), date="yesterday") as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
        assert of(await of_chartmogul(reach_of(server.url), clock=real_clock), "clock") == []
