"""The account that the sandbox starts with when no seed file is given: four customers, their people, six attributes."""

from typing import Final

from service.sandbox.documents import Json
from service.sandbox.seed import Seed, parse_seed

_BILLING: Final = "ds_03cfd2c4-2c7e-11ee-ab23-cb0f008cff46"


def _customer(uuid: str, external_id: str, name: str) -> Json:
    return {"uuid": uuid, "external_id": external_id, "data_source_uuid": _BILLING, "name": name}


def _contact(uuid: str, customer: tuple[str, str], position: int, values: dict[str, Json]) -> Json:
    customer_uuid, external_id = customer
    return {
        "uuid": uuid,
        "customer_uuid": customer_uuid,
        "customer_external_id": external_id,
        "data_source_uuid": _BILLING,
        "position": position,
        **values,
    }


_HARBOUR: Final = ("cus_23e01538-2c7e-11ee-b2ce-fb986e96e21b", "cus_004")
_NORDWIND: Final = ("cus_5f1c3a7e-2c7e-11ee-8d0f-2b9a64c1e7d3", "cus_011")
_ATELIER: Final = ("cus_9ad4b6c0-2c7e-11ee-9e52-73f0c8a5b41e", "cus_017")
_KITE: Final = ("cus_c7e2f914-2c7e-11ee-a3b6-15d8e90f6c2a", "cus_023")

DEFAULT_SEED: Final[Seed] = parse_seed(
    {
        "custom_attributes": ["Lifecycle", "Newsletter", "Lead score", "Region", "Renewal date", "Account owner"],
        "customers": [
            _customer(*_HARBOUR, "Harbour Analytics"),
            _customer(*_NORDWIND, "Nordwind Logistik"),
            _customer(*_ATELIER, "Atelier Lumière"),
            _customer(*_KITE, "Kite & Co"),
        ],
        "contacts": [
            _contact(
                "con_36399f04-7686-11ee-86f6-8727560009c2",
                _HARBOUR,
                1,
                {
                    "first_name": "Grace",
                    "last_name": "Okafor",
                    "title": "Chief Financial Officer",
                    "email": "grace.okafor@harbour-analytics.example",
                    "phone": "+442079460018",
                    "linked_in": "https://www.linkedin.com/in/grace-okafor-example",
                    "notes": "Prefers a call in the morning.\nSigns the renewals.",
                    "custom": {"Lifecycle": "Customer", "Newsletter": True, "Lead score": 82, "Region": "EMEA"},
                },
            ),
            _contact(
                "con_4b0d8e62-7686-11ee-9c31-5fd2a7b8103e",
                _HARBOUR,
                2,
                {
                    "first_name": "Tomasz",
                    "last_name": "Wiśniewski",
                    "title": "Head of Engineering",
                    "email": "tomasz.wisniewski@harbour-analytics.example",
                    "twitter": "https://twitter.com/tomasz_example",
                    "custom": {"Lifecycle": "Customer", "Newsletter": False},
                },
            ),
            _contact(
                "con_6f0b7208-7690-11ee-8857-9f75f1321afd",
                _NORDWIND,
                1,
                {
                    "first_name": "Jürgen",
                    "last_name": "Brandt",
                    "title": "Einkaufsleiter",
                    "email": "j.brandt@nordwind-logistik.example",
                    "phone": "+493023125007",
                    "custom": {"Lifecycle": "Lead", "Region": "DACH", "Account owner": "Maria Lindqvist"},
                },
            ),
            _contact(
                "con_8c25d0b4-7690-11ee-b7f8-e1640a9d53c7",
                _ATELIER,
                1,
                {
                    "first_name": "Élodie",
                    "last_name": "Marchand",
                    "email": "elodie@atelier-lumiere.example",
                    "notes": "Introduced by Grace Okafor.",
                    "custom": {"Lifecycle": "Trial", "Renewal date": "2026-09-30T00:00:00.000Z"},
                },
            ),
            _contact(
                "con_ab1e60d4-7690-11ee-84d7-f7e55168a5df",
                _KITE,
                1,
                {"email": "billing@kite-and-co.example"},
            ),
            _contact(
                "con_e07fc356-749e-11ee-bd40-9fcb07f4aeda",
                _KITE,
                2,
                {
                    "first_name": "Ana",
                    "last_name": "Ferreira",
                    "title": "Operations",
                    "email": "ana.ferreira@kite-and-co.example",
                    "phone": "+351210001234",
                    "custom": {"Newsletter": True},
                },
            ),
        ],
    },
    name="DEFAULT_SEED",
)
