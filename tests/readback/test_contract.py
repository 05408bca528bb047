"""What every reader promises, tried through the client on each CRM's read API on a real socket."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from service.errors import DeliveryError
from service.model import Json, Outcome, OutcomeKind
from service.readback import READERS
from service.readback.base import Reader, ReadError, Reading, TokenSpec
from service.readback.client import ReadBack
from service.wire import json_or_none
from tests.fuzz.documents import documents
from tests.fuzz.values import json_values
from tests.readback.held import EMAIL, HELD, NAME, Held
from tests.support.apis.base import ApiRequest, FakeApi
from tests.support.apis.server import Served, serving
from tests.support.clock import Clock

pytestmark = pytest.mark.anyio

CONNECT_S = 0.6
READ_S = 0.4

every = pytest.mark.parametrize("preset", sorted(READERS))

HOSTILE = [
    "..",
    ".",
    "../../me",
    "/",
    "a/b",
    "a?x=1",
    "a&fields=id",
    "a#b",
    "%2e%2e",
    "a b",
    "a\\b",
    "é",
    "'",
    "' or 1 eq 1",
    "a,b",
    "https://evil.example/",
    "x" * 255,
]
EVIL = [
    *("evil.example", "evil.example/", "https://evil.example", "//evil.example", "a.evil.example", "evil.example#"),
    *(
        "a@evil.example",
        "evil.example:443",
        "evil.example?",
        "evil.example\\",
        "a/../evil.example",
        "é.example",
        ".",
        "",
    ),
    *("127.0.0.1", "localhost", "[::1]", "a\n.example", "evil.example%2f", "evil.example\x00", "%", " "),
]


def api_of(preset: str) -> FakeApi:
    """Return a preset's API with two contacts in it."""
    api: FakeApi = import_module(f"tests.support.apis.{preset}").Api()
    held = HELD[preset]
    api.records.update({one: held.record(one) for one in (held.first, held.second)})
    return api


def reader_of(preset: str, **spec: Any) -> Reader[Any]:  # noqa: ANN401  # any configuration
    kind = READERS[preset]
    return kind(kind.Spec.model_validate({**api_of(preset).credentials, **spec}))


@asynccontextmanager
async def reading(preset: str, served: Served, **spec: Any) -> AsyncIterator[ReadBack]:  # noqa: ANN401  # as reader_of
    reader = reader_of(preset, base_url=served.base_url, **spec)
    fields = HELD[preset].fields
    async with ReadBack(
        reader, fields=fields, connect_timeout_s=CONNECT_S, read_timeout_s=READ_S, clock=Clock()
    ) as readback:
        yield readback


async def outcome_of(readback: ReadBack, object_id: str) -> Outcome:
    with pytest.raises(DeliveryError) as failed:
        await readback.read(object_id)
    return failed.value.outcome


async def came_of(readback: ReadBack, object_id: str) -> Reading | OutcomeKind | None:
    try:
        return await readback.read(object_id)
    except DeliveryError as error:
        return error.outcome.kind


def leaves(node: Json) -> Iterator[Json]:
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from leaves(inner)
    if not isinstance(node, dict | list):
        yield node


def record_calls(served: Served) -> list[ApiRequest]:
    """Return the calls that asked for records, without those for a token."""
    return [call for call in served.calls if "authorization" in call.headers]


def test_every_reader_is_under_the_contract() -> None:
    assert set(READERS) <= set(HELD)
    assert all(reader.preset == preset for preset, reader in READERS.items())


@every
async def test_a_record_is_found_with_its_values(preset: str) -> None:
    held = HELD[preset]
    with serving(api_of(preset)) as served:
        async with reading(preset, served) as readback:
            found = await readback.read(held.first)
    assert found is not None
    assert {NAME, EMAIL} <= {leaf for leaf in leaves(dict(found.values)) if isinstance(leaf, str)}
    assert found.updated_at is not None
    assert found.updated_at.utcoffset() is not None
    assert readback.trouble is None


@every
async def test_a_record_that_is_gone_is_none(preset: str) -> None:
    api = api_of(preset)
    with serving(api) as served:
        async with reading(preset, served) as readback:
            assert await readback.read(HELD[preset].gone) is None
            assert await readback.read(HELD[preset].first) is not None
            del api.records[HELD[preset].first]
            assert await readback.read(HELD[preset].first) is None


@every
async def test_records_that_are_asked_for_together_are_each_found_or_gone(preset: str) -> None:
    held = HELD[preset]
    asked = [held.first, held.gone, held.second]
    with serving(api_of(preset)) as served:
        async with reading(preset, served) as readback:
            found = await asyncio.gather(*map(readback.read, asked))
    assert [one is not None for one in found] == [True, False, True]
    assert len(record_calls(served)) == (1 if READERS[preset].batch_max >= len(asked) else len(asked))


@every
async def test_a_full_batch_is_one_call_that_the_vendor_takes(preset: str) -> None:
    """A vendor refuses what is past its own limit, which the reader must know."""
    held, api, size = HELD[preset], api_of(preset), READERS[preset].batch_max
    ids = [held.first, held.second, *(f"{held.gone[:-3]}{number:03d}" for number in range(size))][:size]
    with serving(api) as served:
        async with reading(preset, served) as readback:
            found = await asyncio.gather(*map(readback.read, ids))
    assert found[0] is not None
    assert len(record_calls(served)) == 1


@every
@pytest.mark.parametrize("object_id", HOSTILE)
def test_a_hostile_id_is_encoded_and_changes_nothing_else(preset: str, object_id: str) -> None:
    reader, held = reader_of(preset), HELD[preset]
    plain, call = (reader.call([one], held.fields) for one in (held.first, object_id))
    assert (call.method, call.params.keys()) == (plain.method, plain.params.keys())
    assert call.path.isascii()
    assert call.path.isprintable()
    assert not {" ", "?", "#", "\\"} & set(call.path)
    segments, others = call.path.split("/"), plain.path.split("/")
    assert len(segments) == len(others)
    for segment, other in zip(segments, others, strict=True):
        assert segment == other or (held.first in unquote(other) and segment not in {".", "..", ""})


@every
@pytest.mark.parametrize("object_id", HOSTILE)
async def test_a_hostile_id_is_nobodys(preset: str, object_id: str) -> None:
    """It may be refused or gone, but it never is a record of another id."""
    with serving(api_of(preset)) as served:
        async with reading(preset, served) as readback:
            await readback.probe()
            probes = len(record_calls(served))
            assert await came_of(readback, object_id) in {None, OutcomeKind.CRM_REJECTED}
    assert len(record_calls(served)) == probes + 1


@every
async def test_ids_of_two_records_in_one_are_neither(preset: str) -> None:
    held = HELD[preset]
    with serving(api_of(preset)) as served:
        async with reading(preset, served) as readback:
            for joint in (",", "','", "&ids=", "|", " "):
                ids = f"{held.first}{joint}{held.second}"
                assert await came_of(readback, ids) in {None, OutcomeKind.CRM_REJECTED}


@every
async def test_wrong_credentials_are_the_vendors_refusal(preset: str) -> None:
    spec = reader_of(preset).spec
    secrets = [name for name in type(spec).model_fields if isinstance(getattr(spec, name), SecretStr)]
    assert secrets
    for name in secrets:
        with serving(api_of(preset)) as served:
            async with reading(preset, served, **{name: "0f2c7a1d8b4e"}) as readback:
                outcome = await outcome_of(readback, HELD[preset].first)
        assert outcome.kind is OutcomeKind.CRM_REFUSED, name
        assert outcome.status == 401 or not isinstance(spec, TokenSpec)
        assert readback.trouble == outcome


@every
async def test_the_probe_tells_right_credentials_from_wrong_ones(preset: str) -> None:
    spec = reader_of(preset).spec
    secrets = {name: "0f2c7a1d8b4e" for name in type(spec).model_fields if isinstance(getattr(spec, name), SecretStr)}
    with serving(api_of(preset)) as served:
        async with reading(preset, served) as right, reading(preset, served, **secrets) as wrong:
            kinds = [(await readback.probe()).kind for readback in (right, wrong)]
    assert kinds == [OutcomeKind.APPLIED, OutcomeKind.CRM_REFUSED]


TROUBLES: dict[str, tuple[Callable[[Served], None], OutcomeKind]] = {
    "403": (lambda served: served.refuse(403, document={}), OutcomeKind.CRM_REFUSED),
    "404 by somebody else": (lambda served: served.say(b"<html>", status=404), OutcomeKind.CRM_UNREACHABLE),
    "429": (lambda served: served.refuse(429, headers={"retry-after": "7"}), OutcomeKind.CRM_RATE_LIMITED),
    "500": (lambda served: served.refuse(500, document={}), OutcomeKind.CRM_UNREACHABLE),
    "503": (lambda served: served.refuse(503), OutcomeKind.CRM_UNREACHABLE),
    "a redirect": (
        lambda served: served.refuse(302, headers={"location": "http://127.0.0.1:9/"}),
        OutcomeKind.CRM_UNREACHABLE,
    ),
    "no JSON": (lambda served: served.say(b"<html>"), OutcomeKind.CRM_UNREACHABLE),
    "JSON of another kind": (lambda served: served.say(b"[7]"), OutcomeKind.CRM_UNREACHABLE),
    "a closed connection": (lambda served: served.close(), OutcomeKind.CRM_UNREACHABLE),
    "an answer that is cut off": (lambda served: served.cut(), OutcomeKind.CRM_UNREACHABLE),
    "silence": (lambda served: served.hang(), OutcomeKind.CRM_UNREACHABLE),
    "an answer that comes too late": (lambda served: served.delay(3 * READ_S), OutcomeKind.CRM_UNREACHABLE),
    "an answer that drips": (lambda served: served.drip(READ_S / 10), OutcomeKind.CRM_UNREACHABLE),
}


@every
@pytest.mark.parametrize("trouble", TROUBLES)
async def test_trouble_on_the_way_is_no_loss_of_a_record(preset: str, trouble: str) -> None:
    """Gone is said by the CRM alone: anything else must be asked again, or a contact would be thought deleted."""
    cause, kind = TROUBLES[trouble]
    with serving(api_of(preset)) as served:
        async with reading(preset, served) as readback:
            assert await readback.read(HELD[preset].first) is not None
            cause(served)
            outcome = await outcome_of(readback, HELD[preset].first)
    assert outcome.kind is kind
    assert outcome.retry_after_s == (7 if trouble == "429" else None)


@pytest.mark.parametrize("preset", sorted(preset for preset in READERS if reader_of(preset).grant is not None))
async def test_a_token_that_was_revoked_is_got_anew(preset: str) -> None:
    with serving(api_of(preset)) as served:
        async with reading(preset, served) as readback:
            await readback.read(HELD[preset].first)
            served.refuse(401, document={})
            assert await readback.read(HELD[preset].first) is not None
    assert [("authorization" in call.headers) for call in served.calls] == [False, True, True, False, True]


def answer_of(preset: str) -> Json:
    """Return what a preset's API answers to the call for its two contacts, or the first where one is all it takes."""
    held, api, reader = HELD[preset], api_of(preset), reader_of(preset)
    call = reader.call([held.first, held.second][: reader.batch_max], held.fields)
    body = b"" if call.body is None else json.dumps(call.body).encode()
    answer = api.answer(ApiRequest(call.method, call.path, call.params, reader.headers(token_of(api, reader)), body))
    assert answer.status < 300, answer
    document: Json = answer.document
    return document


def token_of(api: FakeApi, reader: Reader[Any]) -> str:
    if reader.grant is None:
        token: str = reader.spec.token.get_secret_value()
        return token
    form = urlencode(reader.grant.form).encode()
    headers = {"content-type": "application/x-www-form-urlencoded"}
    granted = api.answer(ApiRequest("POST", urlsplit(reader.grant.url).path, {}, headers, form))
    got: str = granted.document["access_token"]
    return got


def read_or_refused(reader: Reader[Any], document: Json, asked: Sequence[str]) -> Mapping[str, Reading]:
    """Return what was read, nothing where a ReadError was raised that tells no value."""
    try:
        return reader.read(document, asked)
    except ReadError as error:
        told = f"{error!r}"
    assert NAME not in told
    assert EMAIL not in told
    return {}


@every
@settings(max_examples=150, deadline=None)
@given(drawn=st.data())
def test_a_malformed_answer_raises_only_the_documented_error(preset: str, drawn: st.DataObject) -> None:
    held, reader = HELD[preset], reader_of(preset)
    body = drawn.draw(documents(json.dumps(answer_of(preset)).encode()))
    document = drawn.draw(st.just(json_or_none(body)) | json_values)
    asked = [held.first, held.second][: reader.batch_max]
    for object_id, one in read_or_refused(reader, document, asked).items():
        assert isinstance(object_id, str)
        assert isinstance(one, Reading)
        assert all(isinstance(name, str) for name in one.values)
        assert one.updated_at is None or one.updated_at.utcoffset() is not None
        assert NAME not in repr(one)


@every
def test_no_configuration_leads_to_anybody_elses_host(preset: str) -> None:
    spec = READERS[preset].Spec
    for name in set(spec.model_fields) - {"base_url"}:
        for evil in ("", *EVIL):
            try:
                reader = reader_of(preset, **{name: evil})
            except ValidationError:
                continue
            for address in (reader.host, *([] if reader.grant is None else [reader.grant.url])):
                assert_own(address, HELD[preset])
            assert urlsplit(reader.host).path == ""


@every
@pytest.mark.parametrize("url", ["https://127.0.0.1:8443", "http://evil.example", "http://127.0.0.1@evil.example", "x"])
def test_a_base_url_leads_nowhere_but_to_this_machine(preset: str, url: str) -> None:
    with pytest.raises(ValidationError):
        reader_of(preset, base_url=url)


def assert_own(address: str, held: Held) -> None:
    parts = urlsplit(address)
    assert parts.scheme == "https"
    assert parts.netloc == parts.hostname
    assert parts.query == parts.fragment == ""
    assert any(parts.hostname == domain or parts.hostname.endswith(f".{domain}") for domain in held.domains), address
