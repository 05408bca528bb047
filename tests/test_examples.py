"""Each ready configuration, end to end: what its CRM sends goes in, proved; ChartMogul's contact has it in the end."""

import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, get_args

import httpx
import pytest
import yaml

from service.config.variables import NAME
from service.mapping import MappingSpec
from service.sandbox import parse_seed
from service.sources.base import Sample, Strict
from service.sources.generic import Parse
from service.sources.generic.asymmetric import Asymmetric
from service.sources.generic.jwts import Jwt
from service.sources.generic.schemes import Basic, Hmac, StandardWebhooks
from service.sources.generic.tokens import Token
from tests.support.crm import DATA, NOW, basic, mac
from tests.support.crms.generic import ED25519_SECRETS, JWT_SECRETS, ed25519, public_pem, standard_webhooks, web_token
from tests.support.sandbox import RunningSandbox, contact_uuid, running_sandbox
from tests.support.service import Running, Shifted, configure, running

pytestmark = pytest.mark.anyio

ROOT: Final = Path(__file__).parent.parent
EXAMPLES: Final = ROOT / "deploy" / "examples"
DESCRIPTION: Final = (ROOT / "deploy" / "crms" / "generic.md").read_text()
AMARA: Final = contact_uuid(1)
SECRET, OTHER = "8f2c7a1d-4b6e-49d0-a3c5-7e1f0b9d2c64", "3b9e6d40-wrong"
STANDARD, OTHER_STANDARD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
VENDOR_KEY: Final = re.compile(r"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)
REFERENCE: Final = re.compile(r"(?<!\$)\$\{(" + NAME.pattern + r")\}")
SEED: Final = parse_seed(
    {
        "custom_attributes": ["Lifecycle"],
        "customers": [{"uuid": "cus_5f1c3a7e-2c7e-11ee-8d0f-2b9a64c1e7d3"}],
        "contacts": [
            {"uuid": contact_uuid(0), "email": "s.lindqvist@fabrikam.example", "first_name": "Saga"},
            {"uuid": AMARA, "email": "amara.okafor@northwind.example", "title": "Controller", "notes": "Likes tea"},
        ],
    }
)


@dataclass(frozen=True, slots=True)
class Sent:
    """One request as its CRM makes it, but for the proof."""

    url: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Proven:
    """How an example's CRM proves itself: with which secret, which other one is wrong, and what it adds."""

    sign: Callable[[str, bytes, datetime], dict[str, str]] = lambda _secret, _body, _at: {}
    secret: str = SECRET
    other: str = OTHER
    query: str = ""


def header(name: str) -> Proven:
    return Proven(lambda secret, _body, _at: {name: secret})


PROOFS: Final = {
    "activecampaign": Proven(query="?token={}"),
    "copper": header("x-webhook-token"),
    "folk": Proven(
        lambda secret, body, at: standard_webhooks(
            secret, body, at, message_id="evt_6004f2ef-dcc3-4c56-a704-9326730ad100"
        ),
        STANDARD,
        OTHER_STANDARD,
    ),
    "freshsales": Proven(lambda secret, _body, _at: basic("chartmogul", secret)),
    "gohighlevel": Proven(
        lambda secret, body, _at: {"x-ghl-signature": ed25519(secret, body)}, ED25519_SECRETS[0], ED25519_SECRETS[1]
    ),
    "hubspot-workflow": header("x-webhook-token"),
    "keap": Proven(query="?token={}"),
    "monday": Proven(
        lambda secret, _body, at: {"authorization": web_token(secret, at)}, JWT_SECRETS[0], JWT_SECRETS[1]
    ),
    "outreach": Proven(lambda secret, body, _at: {"outreach-webhook-signature": mac(secret.encode(), body).hex()}),
    "salesforce-flow": header("x-webhook-token"),
    "salesloft": Proven(
        lambda secret, body, _at: {"x-salesloft-signature": mac(secret.encode(), body, algorithm="sha1").hex()}
    ),
    "zoho-workflow": header("x-webhook-token"),
}
every = pytest.mark.parametrize("example", sorted(PROOFS))


@pytest.fixture(scope="module")
def served() -> Iterator[RunningSandbox]:
    with running_sandbox(SEED) as sandbox:
        yield sandbox


@pytest.fixture
def shifted() -> Shifted:
    return Shifted()


@pytest.fixture
async def service(example: str, tmp_path: Path, sandbox: RunningSandbox, shifted: Shifted) -> AsyncIterator[Running]:
    text = (EXAMPLES / f"{example}.yaml").read_text()
    if example == "gohighlevel":  # its real private key is the vendor's alone
        indented = public_pem(PROOFS[example].secret).strip().replace("\n", "\n        ")
        text = VENDOR_KEY.sub(indented, text)
    own = {"CHARTMOGUL_BASE_URL": sandbox.base_url, **secrets_of(example)}
    async with running(configure(tmp_path, text, **own), clock=shifted) as service:
        yield service


def secrets_of(example: str) -> dict[str, str]:
    """Return a secret for every name that the example asks for."""
    text = (EXAMPLES / f"{example}.yaml").read_text()
    return dict.fromkeys(REFERENCE.findall(text), PROOFS[example].secret)


def requests_of(example: str) -> list[Sent]:
    """Return what the CRM sends, in the form of its documentation."""
    told = json.loads((DATA / "examples" / f"{example}.json").read_text())
    requests = told if isinstance(told, list) else [told]
    return [Sent(one["url"], one["headers"], one["body"].encode()) for one in requests]


async def post(service: Running, example: str, sent: Sent, secret: str) -> httpx.Response:
    """Prove a request with a secret, and send it."""
    proof = PROOFS[example]
    signed = proof.sign(secret, sent.body, service.service.clock())
    url = sent.url + proof.query.format(secret)
    return await service.client.post(url, content=sent.body, headers=sent.headers | signed)


def test_every_example_is_tried_and_is_in_the_list() -> None:
    assert {path.stem for path in EXAMPLES.iterdir() if path.is_file()} == set(PROOFS)
    assert set(re.findall(r"\.\./examples/([a-z-]+)\.yaml", DESCRIPTION)) == set(PROOFS)


@pytest.mark.parametrize("scheme", [Hmac, StandardWebhooks, Asymmetric, Jwt, Token, Basic])
def test_every_key_of_a_scheme_is_in_its_row(scheme: type[Strict]) -> None:
    (name,) = get_args(scheme.model_fields["scheme"].annotation)
    (row,) = re.findall(rf"^\| `{name}` \| (.*) \|", DESCRIPTION, re.MULTILINE)
    named = set(re.findall(r"`([a-z_]+)(?:: true)?`", row))
    assert named >= set(scheme.model_fields) - {"scheme"}


def test_every_key_of_parse_has_its_row_and_no_other_has_one() -> None:
    table = DESCRIPTION.partition("## `parse`")[2].partition("Paths are")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)} == set(Parse.model_fields)


@pytest.mark.parametrize("recipe", re.findall(r"^(parse: .*\nmapping: .*)$", DESCRIPTION, re.MULTILINE))
def test_a_recipe_can_be_taken_as_it_stands(recipe: str) -> None:
    told = yaml.safe_load(recipe)
    Parse.model_validate(told["parse"])
    MappingSpec.model_validate(told["mapping"])


@every
def test_an_example_passes_the_check_as_it_stands(example: str, tmp_path: Path) -> None:
    """With nothing changed, and nothing set but the secrets that it names."""
    config = configure(tmp_path, (EXAMPLES / f"{example}.yaml").read_text(), **secrets_of(example))
    assert list(config.sources) == [example]


@pytest.mark.parametrize("example", sorted(set(PROOFS) - {"gohighlevel"}))
def test_a_sample_of_an_example_is_accepted_and_read(example: str, tmp_path: Path) -> None:
    """By `sample` an operator tries the way to the service; GoHighLevel alone can sign for itself."""
    text = (EXAMPLES / f"{example}.yaml").read_text()
    source = configure(tmp_path, text, **secrets_of(example)).sources[example].source
    sample = Sample(object_id="4711", event_id="evt_1", at=NOW, fields={"title": "CFO"}, previous={"title": "CTO"})
    request = source.sample(sample, url=f"https://hooks.northwind.example/webhooks/{example}", now=NOW)
    source.verify(request, now=NOW)
    (change,) = source.parse(request)
    assert (change.object_id, change.ignored) == ("4711", None)


@every
async def test_what_the_crm_sends_reaches_the_contact_and_nothing_else_does(
    example: str, service: Running, sandbox: RunningSandbox, shifted: Shifted
) -> None:
    before = {contact["uuid"]: contact for contact in sandbox.contacts()}
    for sent in requests_of(example):
        answer = await post(service, example, sent, PROOFS[example].secret)
        assert (answer.status_code, answer.json()["duplicates"]) == (200, 0), answer.text
    shifted.advance(10)  # whatever the example waits for further changes; no lease ends by it
    service.service.worker.wake()
    await service.settled()
    expected: dict[str, Any] = json.loads((DATA / "examples" / f"{example}.expected.json").read_text())
    after = {contact["uuid"]: contact for contact in sandbox.contacts()}
    assert after == {**before, AMARA: before[AMARA] | expected}
    assert "dead" not in {event["state"] for event in await service.events()}


@every
async def test_the_same_request_again_is_a_duplicate(
    example: str, service: Running, sandbox: RunningSandbox, shifted: Shifted
) -> None:
    secret = PROOFS[example].secret
    for sent in requests_of(example):
        first = (await post(service, example, sent, secret)).json()
        again = (await post(service, example, sent, secret)).json()
        assert again == {"accepted": 0, "duplicates": first["accepted"]}
    shifted.advance(10)
    service.service.worker.wake()
    await service.settled()
    assert sandbox.answered("PATCH", 200) == 1


@every
async def test_whoever_has_not_the_secret_is_refused(example: str, service: Running, sandbox: RunningSandbox) -> None:
    for sent in requests_of(example):
        assert (await post(service, example, sent, PROOFS[example].other)).status_code == 401
        assert (await service.client.post(sent.url, content=sent.body, headers=sent.headers)).status_code == 401
    assert await service.events() == []
    assert sandbox.requests() == []


@pytest.mark.parametrize("example", ["monday"])
async def test_monday_gets_its_challenge_back_before_it_has_any_token(service: Running) -> None:
    challenge = {"challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"}
    answer = await service.client.post("/webhooks/monday", json=challenge)
    assert (answer.status_code, answer.json()) == (200, challenge)
    assert await service.events() == []


@pytest.mark.parametrize("example", ["copper"])
async def test_a_change_of_several_people_of_copper_reaches_each(service: Running, sandbox: RunningSandbox) -> None:
    """They are found by the email that both had, and afterwards by their links."""
    (sent,) = requests_of("copper")
    first = json.loads(sent.body)
    for number, email in ((27140359, "amara.okafor@northwind.example"), (27140363, "s.lindqvist@fabrikam.example")):
        told = {**first, "ids": [number], "updated_attributes": {"emails": [[], [{"email": email}]]}}
        body = json.dumps(told).encode()
        assert (await post(service, "copper", Sent(sent.url, sent.headers, body), SECRET)).status_code == 200
    await service.settled()
    both = {**first, "ids": [27140359, 27140363], "updated_attributes": {"title": [None, "Partner"]}}
    answer = await post(service, "copper", Sent(sent.url, sent.headers, json.dumps(both).encode()), SECRET)
    assert answer.json() == {"accepted": 2, "duplicates": 0}
    await service.settled()
    assert [contact["title"] for contact in sandbox.contacts()] == ["Partner", "Partner"]
