"""The client of CRMs' APIs: few calls, and one outcome for each record; over real HTTP."""

import asyncio
from datetime import timedelta

import orjson
import pytest

from service.errors import DeliveryError, Postponed
from service.model import OutcomeKind
from service.readback.base import Reading, TokenSpec
from service.readback.client import (
    HOLD_S_MAX,
    KNOWN_FOR,
    LIMITED_HOLD_S,
    REFUSED_HOLD_S,
    ReadBack,
)
from tests.readback.directory import TOKEN, Api, Directory, asked, outcome_of, reading
from tests.support.apis.server import Served
from tests.support.clock import START, Clock

pytestmark = pytest.mark.anyio


async def test_a_record_is_read_with_the_fields_that_are_needed_and_our_credentials(served: Served) -> None:
    async with reading(served) as client:
        found = await client.read("1")
    assert found == Reading({"firstname": "Amara 1"}, START)
    (call,) = served.calls
    assert (call.method, call.path, call.query) == ("POST", "/read", {"limit": "3"})
    assert orjson.loads(call.body) == {"ids": ["1"], "fields": ["email", "firstname"]}
    assert call.headers["authorization"] == f"Bearer {TOKEN}"
    assert call.headers["user-agent"].startswith("crm-to-chartmogul/")
    assert "Amara" not in repr(found)


async def test_what_waits_at_the_same_time_shares_calls(served: Served) -> None:
    async with reading(served) as client:
        found = await asyncio.gather(*(client.read(str(number)) for number in range(9)))
    assert [one and one.values["firstname"] for one in found] == [f"Amara {number}" for number in range(9)]
    assert sorted(map(len, asked(served))) == [3, 3, 3]


async def test_a_call_that_took_everybody_along_leaves_nothing_to_ask(served: Served) -> None:
    async with reading(served) as client:
        await asyncio.gather(client.read("1"), client.read("2"))
        await client.read("3")
    assert asked(served) == [["1", "2"], ["3"]]


async def test_a_record_that_the_crm_has_no_more_is_gone_and_the_others_are_not(served: Served) -> None:
    async with reading(served) as client:
        found = await asyncio.gather(client.read("1"), client.read("none"), client.read("2"))
    assert [one is None for one in found] == [False, True, False]


@pytest.mark.parametrize("status", [404, 410])
async def test_a_404_in_json_says_that_all_that_was_asked_for_is_gone(served: Served, status: int) -> None:
    served.refuse(status, document={"message": "not found"})
    async with reading(served) as client:
        assert await client.read("1") is None
        assert client.trouble is None


async def test_nothing_is_taken_for_gone_at_a_place_where_nothing_ever_was(served: Served) -> None:
    """A wrong name in the configuration must not end every change as that of a record that is gone."""
    clock = Clock()
    async with reading(served, clock=clock) as client:
        served.refuse(404, document={"message": "no such object"}, times=2)
        assert await outcome_of(client) is OutcomeKind.CRM_REJECTED
        assert client.trouble is not None
        assert [call.path for call in served.calls] == ["/read", "/me"]
        await client.read("1")
        served.refuse(404, document={"message": "not found"})
        assert await client.read("1") is None
        assert [call.path for call in served.calls][2:] == ["/read", "/read"], "there was something a moment ago"
        clock.advance(KNOWN_FOR.total_seconds())
        served.refuse(404, document={"message": "this version is no more"}, times=2)
        assert await outcome_of(client) is OutcomeKind.CRM_REJECTED


async def test_a_404_that_is_not_json_is_somebody_elses(served: Served) -> None:
    """A wrong address must not make every contact look deleted."""
    served.say(b"<h1>Not here</h1>", status=404, content_type="text/html")
    async with reading(served) as client:
        assert await outcome_of(client) is OutcomeKind.CRM_UNREACHABLE


async def test_the_time_of_a_record_is_its_own_or_that_of_the_read(served: Served, api: Api) -> None:
    api.records["1"]["at"] = (START - timedelta(days=3)).timestamp()
    api.records["2"]["at"] = (START + timedelta(days=300)).timestamp()
    async with reading(served) as client:
        own, impossible = await client.read("1"), await client.read("2")
    assert own is not None
    assert impossible is not None
    assert (own.updated_at, impossible.updated_at) == (START - timedelta(days=3), START)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, OutcomeKind.CRM_REJECTED),
        (422, OutcomeKind.CRM_REJECTED),
        (408, OutcomeKind.CRM_UNREACHABLE),
        (302, OutcomeKind.CRM_UNREACHABLE),
        (500, OutcomeKind.CRM_UNREACHABLE),
        (503, OutcomeKind.CRM_UNREACHABLE),
    ],
)
async def test_each_refusal_has_its_outcome_and_the_next_read_works(
    served: Served, status: int, kind: OutcomeKind
) -> None:
    served.refuse(status, document={"message": "Amara"}, headers={"location": "http://127.0.0.1:9/"})
    async with reading(served) as client:
        assert await outcome_of(client) is kind
        assert client.trouble is not None
        assert client.trouble.status == status
        assert await client.read("1") is not None
        assert client.trouble is None


async def test_what_never_ends_breaks_off_or_is_no_json_is_unreachable(served: Served) -> None:
    served.hang()
    served.close()
    served.cut()
    served.say(b"[[[")
    served.say(b'"no object"')
    async with reading(served) as client:
        for _ in range(5):
            assert await outcome_of(client) is OutcomeKind.CRM_UNREACHABLE


async def test_an_answer_past_every_bound_is_not_read_to_its_end(served: Served) -> None:
    served.say(b'{"1":"' + b"a" * (9 * 1024 * 1024) + b'"}')
    async with reading(served) as client:
        assert await outcome_of(client) is OutcomeKind.CRM_UNREACHABLE


async def test_nobody_listening_is_unreachable(served: Served) -> None:
    nowhere = Directory(TokenSpec(base_url="http://127.0.0.1:9", token=TOKEN))
    async with ReadBack(nowhere, fields=[], connect_timeout_s=1, clock=Clock()) as client:
        assert await outcome_of(client) is OutcomeKind.CRM_UNREACHABLE
    assert served.calls == []


@pytest.mark.parametrize("status", [401, 403])
async def test_refused_credentials_are_not_tried_again_for_a_minute(served: Served, status: int) -> None:
    served.refuse(status, document={"message": "no"})
    clock = Clock()
    async with reading(served, clock=clock) as client:
        assert await outcome_of(client) is OutcomeKind.CRM_REFUSED
        with pytest.raises(Postponed) as postponed:
            await client.read("2")
        assert postponed.value.until == clock.after(REFUSED_HOLD_S)
        clock.advance(REFUSED_HOLD_S)
        assert await client.read("2") is not None
    assert len(served.calls) == 2


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({}, LIMITED_HOLD_S), ({"retry-after": "7"}, 7), ({"retry-after": "999999"}, HOLD_S_MAX)],
)
async def test_a_429_holds_every_call_back_for_as_long_as_it_asks(
    served: Served, headers: dict[str, str], seconds: float
) -> None:
    served.refuse(429, headers=headers, document={"message": "slow down"})
    clock = Clock()
    async with reading(served, clock=clock) as client:
        assert await outcome_of(client) is OutcomeKind.CRM_RATE_LIMITED
        with pytest.raises(Postponed) as postponed:
            await client.read("2")
        assert postponed.value.until == clock.after(seconds)


async def test_of_several_answers_the_one_that_asks_for_the_longest_wait_counts(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Directory, "batch_max", 1)
    served.refuse(429, headers={"retry-after": "60"}, document={"message": "slow down"})
    served.refuse(429, document={"message": "slow down"})
    clock = Clock()
    async with reading(served, clock=clock) as client:
        await asyncio.gather(client.read("1"), client.read("2"), return_exceptions=True)
        with pytest.raises(Postponed) as postponed:
            await client.read("3")
        assert postponed.value.until == clock.after(60)


async def test_one_id_that_the_crm_does_not_take_costs_the_others_nothing(served: Served) -> None:
    async with reading(served) as client:
        found = await asyncio.gather(client.read("1"), client.read("?"), client.read("2"), return_exceptions=True)
    assert isinstance(found[1], DeliveryError)
    assert found[1].outcome.kind is OutcomeKind.CRM_REJECTED
    assert [isinstance(one, Reading) for one in found] == [True, False, True]


async def test_a_hold_that_begins_while_ids_are_asked_one_by_one_puts_the_rest_off(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Directory, "parallel", 1)
    served.refuse(400, document={"message": "one of them is wrong"})
    served.refuse(429, document={"message": "slow down"})
    async with reading(served) as client:
        found = await asyncio.gather(client.read("1"), client.read("2"), client.read("3"), return_exceptions=True)
    kinds = [type(one) for one in found]
    assert kinds == [DeliveryError, Postponed, Postponed]


async def test_a_probe_says_whether_the_credentials_work(served: Served) -> None:
    async with reading(served) as client:
        assert (await client.probe()).kind is OutcomeKind.APPLIED
        served.refuse(404, document={"message": "no such object"})
        assert (await client.probe()).kind is OutcomeKind.CRM_REJECTED
        served.refuse(401, document={"message": "no"})
        assert (await client.probe()).kind is OutcomeKind.CRM_REFUSED


async def test_without_a_call_that_only_probes_nothing_is_tried(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Directory, "probe", lambda _self: None)
    async with reading(served) as client:
        assert (await client.probe()).kind is OutcomeKind.UNCHANGED
    assert served.calls == []
