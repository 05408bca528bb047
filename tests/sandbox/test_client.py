"""ChartMogul's own Python client works against the sandbox as against ChartMogul."""

import chartmogul
import pytest

from tests.support.sandbox import CUSTOMER, DATA_SOURCE, RunningSandbox

GRACE = "con_36399f04-7686-11ee-86f6-8727560009c2"
TOMASZ = "con_4b0d8e62-7686-11ee-9c31-5fd2a7b8103e"


@pytest.fixture
def config(sandbox: RunningSandbox) -> chartmogul.Config:
    config = chartmogul.Config(sandbox.api_key, request_timeout=10, max_retries=0)
    config.uri = f"{sandbox.base_url}/v1"
    return config


def test_ping_and_account_answer(config: chartmogul.Config) -> None:
    assert chartmogul.Ping.ping(config).get().data == "pong!"
    assert chartmogul.Account.retrieve(config).get().currency == "EUR"


def test_a_bad_key_is_refused_with_the_recorded_body(config: chartmogul.Config) -> None:
    config.auth = ("bad-key", "")
    with pytest.raises(chartmogul.APIError) as refused:
        chartmogul.Ping.ping(config).get()
    assert refused.value.args[0] == b'{"code":401,"message":"No valid API key provided","param":null}'


def test_a_contact_lives_from_create_to_delete(config: chartmogul.Config) -> None:
    created = chartmogul.Contact.create(
        config,
        data={
            "customer_uuid": CUSTOMER,
            "data_source_uuid": DATA_SOURCE,
            "email": "petra.vogel@nordwind-logistik.example",
            "external_id": "003Qy00000A1bCd",
            "custom": [{"key": "Lifecycle", "value": "Lead"}, {"key": "Facebook", "value": "petra.vogel"}],
        },
    ).get()
    assert created.position == 2
    assert created.custom == {"Lifecycle": "Lead"}

    updated = chartmogul.Contact.modify(
        config, uuid=created.uuid, data={"title": "Disponentin", "last_seen": "2026-05-04T09:30:00+02:00"}
    ).get()
    assert (updated.title, updated.email) == ("Disponentin", "petra.vogel@nordwind-logistik.example")
    assert updated.last_seen.isoformat() == "2026-05-04T07:30:00+00:00"
    assert chartmogul.Contact.retrieve(config, uuid=created.uuid).get().external_id == "003Qy00000A1bCd"

    chartmogul.Contact.destroy(config, uuid=created.uuid).get()
    with pytest.raises(chartmogul.APIError) as gone:
        chartmogul.Contact.retrieve(config, uuid=created.uuid).get()
    assert b"does not exist" in gone.value.args[0]


def test_pages_together_give_every_contact_once(config: chartmogul.Config, sandbox: RunningSandbox) -> None:
    everything = chartmogul.Contact.all(config).get()
    assert (len(everything.entries), everything.has_more) == (6, False)

    found, cursor, has_more = [], None, True
    while has_more:
        page = chartmogul.Contact.all(config, per_page=4, **({"cursor": cursor} if cursor else {})).get()
        found += [contact.uuid for contact in page.entries]
        cursor, has_more = page.cursor, page.has_more
    assert found == [contact["uuid"] for contact in reversed(sandbox.contacts())]


def test_a_customers_contacts_are_found_and_merged(config: chartmogul.Config) -> None:
    customer = chartmogul.Customer.all(config, external_id="cus_004").get().entries[0]
    contacts = chartmogul.Customer.contacts(config, uuid=customer.uuid).get().entries
    assert [contact.uuid for contact in contacts] == [TOMASZ, GRACE]
    created = chartmogul.Customer.createContact(
        config, uuid=customer.uuid, data={"data_source_uuid": DATA_SOURCE, "notes": "Met in Łódź."}
    ).get()
    assert created.position == 3

    merged = chartmogul.Contact.merge(config, into_uuid=GRACE, from_uuid=created.uuid).get()
    assert merged.notes == "Prefers a call in the morning.\nSigns the renewals. Met in Łódź."
    assert merged.customer_uuid is None
    assert chartmogul.Contact.retrieve(config, uuid=GRACE).get().customer_uuid == customer.uuid


def test_a_customer_is_found_by_email(config: chartmogul.Config) -> None:
    found = chartmogul.Customer.search(config, email="Elodie@atelier-lumiere.example").get()
    assert [customer.name for customer in found.entries] == ["Atelier Lumière"]
    with pytest.raises(chartmogul.APIError) as nobody:
        chartmogul.Customer.search(config, email="no@email.com").get()
    assert nobody.value.args[0] == (
        b'{"code":404,"message":"Can\'t find any customers with email: \\"no@email.com\\"","param":"email"}'
    )
