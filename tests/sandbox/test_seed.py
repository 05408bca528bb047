"""A seed is read as the API would return it, and what is wrong with one is named with its place."""

import json
from pathlib import Path
from typing import Any

import pytest

from service.sandbox import DEFAULT_SEED, SeedError, create_app, parse_seed, read_seed, serve
from service.sandbox import seed as seed_module
from service.sandbox.customers import Customers

UUID = "con_36399f04-7686-11ee-86f6-8727560009c2"


def test_a_seed_holds_what_the_file_says(tmp_path: Path) -> None:
    file = tmp_path / "seed.json"
    contact = {"uuid": UUID, "customer_uuid": "cus_1", "customer_external_id": "ext_1", "custom": {"Region": "EMEA"}}
    file.write_text(json.dumps({"contacts": [contact], "custom_attributes": ["Lifecycle"], "customers": []}))
    seed = read_seed(file)
    assert seed.custom_attributes == ("Lifecycle",)
    (found,) = seed.contacts
    assert {key: value for key, value in found.items() if value is not None} == {**contact, "position": 1}


def test_what_only_a_contact_names_is_known_too() -> None:
    seed = parse_seed(
        {
            "contacts": [
                {"uuid": UUID, "customer_uuid": "cus_1", "customer_external_id": "ext_1", "custom": {"Region": "EMEA"}},
                {"uuid": "con_2", "customer_uuid": None, "created_by_a_later_version": 1},
            ],
            "customers": [{"uuid": "cus_2", "email": "office@kite-and-co.example"}],
        }
    )
    app = create_app(seed)
    customers = Customers(seed, app.contacts)
    assert customers.get("cus_1").external_id == "ext_1"
    assert customers.as_document(customers.get("cus_1"))["email"] == ""
    assert customers.as_document(customers.get("cus_2"))["email"] == "office@kite-and-co.example"
    changed = app.contacts.update("con_2", {"custom": [{"key": "Region", "value": "APAC"}]}, app.settings.switches)
    assert changed["custom"] == {"Region": "APAC"}


def test_an_empty_seed_is_an_empty_account() -> None:
    assert list(create_app(parse_seed({})).contacts.all()) == []


def test_two_sandboxes_do_not_share_state() -> None:
    one, other = create_app(), create_app()
    one.contacts.update(UUID, {"custom": [{"key": "Region", "value": "APAC"}]}, one.settings.switches)
    assert other.contacts.get(UUID)["custom"] == DEFAULT_SEED.contacts[0]["custom"]


def test_the_default_seed_is_enough_for_a_trial() -> None:
    assert len(DEFAULT_SEED.contacts) == 6
    assert len(DEFAULT_SEED.customers) == 4
    assert all(contact["email"] for contact in DEFAULT_SEED.contacts)
    held = {name for contact in DEFAULT_SEED.contacts for name in contact["custom"]}  # type: ignore[union-attr]
    assert held <= set(DEFAULT_SEED.custom_attributes)


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ([], "seed: found a list; allowed: an object"),
        ({"people": []}, "seed: people: found an unknown name; allowed: contacts, customers, custom_attributes"),
        ({"contacts": {}}, "seed: contacts: found an object; allowed: a list"),
        ({"contacts": [None]}, "seed: contacts[0]: found null; allowed: an object"),
        ({"contacts": [{}]}, "seed: contacts[0].uuid: found null; allowed: a text"),
        (
            {"contacts": [{"uuid": "cus_1"}]},
            "seed: contacts[0].uuid: found a text; allowed: a text that starts with con_",
        ),
        ({"contacts": [{"uuid": UUID, "email": 5}]}, "seed: contacts[0].email: found the number 5; allowed: a text"),
        ({"contacts": [{"uuid": UUID, "position": True}]}, "contacts[0].position: found true; allowed: a whole number"),
        (
            {"contacts": [{"uuid": UUID, "position": "1"}]},
            "contacts[0].position: found a text; allowed: a whole number",
        ),
        ({"contacts": [{"uuid": UUID, "custom": []}]}, "seed: contacts[0].custom: found a list; allowed: an object"),
        ({"contacts": [{"uuid": UUID, "custom": {"Region": None}}]}, "seed: contacts[0].custom['Region']: found null"),
        ({"contacts": [{"uuid": UUID}, {"uuid": UUID}]}, "seed: contacts[1].uuid: found the uuid of [0] again"),
        ({"customers": [{"uuid": "cus_1"}, {"uuid": "cus_1"}]}, "seed: customers[1].uuid: found the uuid of [0] again"),
        ({"customers": [{"uuid": "cus_1", "external_id": 7}]}, "seed: customers[0].external_id: found the number 7"),
        ({"custom_attributes": [{"name": "Region"}]}, "seed: custom_attributes[0]: found an object; allowed: a text"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(document: Any, text: str) -> None:  # noqa: ANN401  # any JSON
    with pytest.raises(SeedError) as refused:
        parse_seed(document)
    assert text in str(refused.value)
    assert refused.value.path in text or text.startswith("contacts")


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "seed.json"
    with pytest.raises(SeedError, match=r"seed\.json: found no readable file \(No such file or directory\)"):
        serve(port=0, seed_file=file)
    file.write_text('{"contacts": [}')
    with pytest.raises(SeedError, match=r"seed\.json: found no JSON at line 1, column \d+"):
        read_seed(file)
    monkeypatch.setattr(seed_module, "FILE_MAX_BYTES", 3)
    with pytest.raises(SeedError, match="a file too large; allowed: at most 3 bytes"):
        read_seed(file)
