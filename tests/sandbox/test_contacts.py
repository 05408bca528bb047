"""Pages of any size together give every contact once; a merge keeps what it must and loses nothing else."""

from collections.abc import Mapping
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.sandbox import Clock, Switches, parse_seed
from service.sandbox.answers import Refused
from service.sandbox.clock import as_iso, from_iso
from service.sandbox.contacts import Contacts
from service.sandbox.fields import TEXTS, is_blank
from service.sandbox.paging import from_cursor, to_cursor
from tests.support.sandbox import CUSTOMER, DATA_SOURCE, contact_uuid, seed_of

STILL = Clock(wall_ns=lambda: 1_698_602_930_244_875_000)
Order = Literal["newest_first", "oldest_first"]
ORDERS: tuple[Order, ...] = ("newest_first", "oldest_first")

blank_or_text = st.one_of(st.none(), st.just(""), st.text("abcdé", min_size=1, max_size=5))
custom_values = st.dictionaries(
    st.sampled_from(["Lifecycle", "Region"]), st.one_of(st.booleans(), st.text(max_size=5)), max_size=2
)
people = st.fixed_dictionaries(
    {**dict.fromkeys((*TEXTS, "external_id"), blank_or_text), "custom": custom_values, "position": st.integers(1, 9)}
)


def contacts_of(*people: Mapping[str, Any]) -> Contacts:
    given = [{**person, "uuid": contact_uuid(number)} for number, person in enumerate(people)]
    return Contacts(parse_seed({"contacts": given}), STILL)


def walk(contacts: Contacts, query: Mapping[str, str], switches: Switches) -> list[str]:
    found: list[str] = []
    page = contacts.page(query, switches)
    while True:
        found += [str(contact["uuid"]) for contact in page.contacts]
        if not page.has_more:
            return found
        assert page.cursor is not None
        page = contacts.page({**query, "cursor": page.cursor}, switches)


@settings(deadline=None)
@given(count=st.integers(0, 30), per_page=st.integers(1, 12), order=st.sampled_from(ORDERS), created=st.integers(0, 5))
def test_pages_of_any_size_together_give_every_contact_once(
    count: int,
    per_page: int,
    order: Order,
    created: int,
) -> None:
    """Also those created within one tick of the clock: no two share a place in the order."""
    contacts = Contacts(seed_of(count), STILL)
    identity = {"customer_uuid": CUSTOMER, "customer_external_id": "cus_011", "data_source_uuid": DATA_SOURCE}
    for _ in range(created):
        contacts.create(identity, {}, Switches())
    everyone = [str(contact["uuid"]) for contact in contacts.all()]
    found = walk(contacts, {"per_page": str(per_page)}, Switches(list_order=order))
    assert found == (everyone if order == "oldest_first" else everyone[::-1])
    assert len(set(found)) == count + created


@settings(deadline=None)
@given(count=st.integers(2, 20), per_page=st.integers(1, 6), order=st.sampled_from(ORDERS), lost=st.data())
def test_a_contact_deleted_between_two_pages_costs_no_other(
    count: int,
    per_page: int,
    order: Order,
    lost: st.DataObject,
) -> None:
    contacts, switches = Contacts(seed_of(count), STILL), Switches(list_order=order)
    first = contacts.page({"per_page": str(per_page)}, switches)
    gone = contact_uuid(lost.draw(st.integers(0, count - 1)))
    contacts.delete(gone)
    assert first.cursor is not None
    rest = walk(contacts, {"per_page": str(per_page), "cursor": first.cursor}, switches)
    seen = [str(contact["uuid"]) for contact in first.contacts] + rest
    assert {*seen, gone} == {contact_uuid(number) for number in range(count)}
    assert len(seen) == len(set(seen))


@settings(deadline=None)
@given(st.integers(0, 2**62), st.text("con_0123456789abcdef-", min_size=1))
def test_a_cursor_leads_back_to_its_row(created_ns: int, uuid: str) -> None:
    assert from_cursor(to_cursor((created_ns, uuid))) == (created_ns, uuid)


def test_a_cursor_looks_as_recorded() -> None:
    recorded = "MjAyMy0xMC0yOVQxODowODo1MC4yNDQ4NzUwMDBaJmNvbl8zNjM5OWYwNC03Njg2LTExZWUtODZmNi04NzI3NTYwMDA5YzI="
    assert to_cursor((1_698_602_930_244_875_000, "con_36399f04-7686-11ee-86f6-8727560009c2")) == recorded


@settings(deadline=None)
@given(st.text())
def test_a_text_that_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        from_cursor(text)


@pytest.mark.parametrize(
    "text", ["2023-10-29T18:08:50Z", "2023-10-29T18:08:50.24487500xZ", "2023-13-29T18:08:50.244875000Z"]
)
def test_an_instant_has_nine_decimals(text: str) -> None:
    with pytest.raises(ValueError, match=r"nine decimals|does not match"):
        from_iso(text)
    assert as_iso(from_iso("2023-10-29T18:08:50.244875000Z")) == "2023-10-29T18:08:50.244875000Z"


@pytest.mark.parametrize("per_page", ["", "0", "201", "-1", "many", "99999999999999999999"])
def test_a_page_has_200_rows_at_most(per_page: str) -> None:
    page = Contacts(seed_of(201), STILL).page({"per_page": per_page}, Switches())
    assert (len(page.contacts), page.has_more) == (200, True)


def test_the_last_page_has_a_cursor_too_and_page_is_dead() -> None:
    contacts = Contacts(seed_of(3), STILL)
    page = contacts.page({"per_page": "3", "page": "3"}, Switches())
    assert (len(page.contacts), page.has_more) == (3, False)
    assert page.cursor is not None
    assert not contacts.page({"cursor": page.cursor}, Switches()).contacts


FILTERS = [
    ({"email": "GRACE@harbour.example"}, [1, 0]),
    ({"customer_uuid": "cus_a"}, [2, 0]),
    ({"customer_external_id": "ext_b"}, [1]),
    ({"customer_external_id": "EXT_B"}, []),
    ({"data_source_uuid": "ds_1"}, [2, 1]),
    ({"email": "grace@harbour.example", "customer_uuid": "cus_a"}, [0]),
    ({"email": "nobody@harbour.example"}, []),
    ({"email": "", "customer_uuid": ""}, [2, 1, 0]),
]


@pytest.mark.parametrize(("query", "found"), FILTERS)
def test_filters_can_be_combined(query: dict[str, str], found: list[int]) -> None:
    contacts = contacts_of(
        {"email": "grace@harbour.example", "customer_uuid": "cus_a", "data_source_uuid": "ds_0"},
        {
            "email": "Grace@Harbour.example",
            "customer_uuid": "cus_b",
            "customer_external_id": "ext_b",
            "data_source_uuid": "ds_1",
        },
        {"customer_uuid": "cus_a", "data_source_uuid": "ds_1"},
    )
    assert walk(contacts, query, Switches()) == [contact_uuid(number) for number in found]


def test_a_filter_that_is_no_index_of_its_own_still_counts() -> None:
    """The customer's one contact is looked at first, and has another email."""
    contacts = contacts_of(
        {"email": "grace@harbour.example"},
        {"email": "grace@harbour.example"},
        {"email": "ana@kite-and-co.example", "customer_uuid": "cus_a"},
    )
    assert walk(contacts, {"email": "grace@harbour.example", "customer_uuid": "cus_a"}, Switches()) == []


def test_email_can_be_compared_exactly() -> None:
    contacts = contacts_of({"email": "grace@harbour.example"}, {"email": "Grace@Harbour.example"})
    exact = Switches(email_filter="exact")
    assert walk(contacts, {"email": "Grace@Harbour.example"}, exact) == [contact_uuid(1)]


def test_a_changed_email_is_found_and_the_old_one_is_not() -> None:
    contacts = contacts_of({"email": "grace@harbour.example"}, {"email": "grace@harbour.example"})
    contacts.update(contact_uuid(0), {"email": "grace@kite-and-co.example"}, Switches())
    assert walk(contacts, {"email": "grace@kite-and-co.example"}, Switches()) == [contact_uuid(0)]
    assert walk(contacts, {"email": "grace@harbour.example"}, Switches()) == [contact_uuid(1)]


@settings(deadline=None)
@given(into=people, other=people)
def test_a_merge_keeps_what_into_has_and_fills_its_blanks(into: dict[str, Any], other: dict[str, Any]) -> None:
    contacts = contacts_of(into, other)
    merged = contacts.merge(contact_uuid(0), contact_uuid(1))
    assert (merged["uuid"], merged["position"]) == (contact_uuid(0), into["position"])
    assert merged["custom"] == {**other["custom"], **into["custom"]}
    for name in (*TEXTS, "external_id"):
        if name == "notes" and not is_blank(into[name]) and not is_blank(other[name]):
            assert merged[name] == f"{into[name]} {other[name]}"
        elif is_blank(into[name]) and not is_blank(other[name]):
            assert merged[name] == other[name]
        else:
            assert merged[name] == into[name]
    with pytest.raises(Refused):
        contacts.get(contact_uuid(1))
    assert walk(contacts, {}, Switches()) == [contact_uuid(0)]
    if not is_blank(merged["email"]):
        assert walk(contacts, {"email": str(merged["email"])}, Switches()) == [contact_uuid(0)]


def test_a_contact_is_not_merged_with_itself() -> None:
    contacts = contacts_of({"email": "grace@harbour.example"})
    with pytest.raises(Refused) as refused:
        contacts.merge(contact_uuid(0), contact_uuid(0))
    assert refused.value.answer.status == 422
    assert contacts.get(contact_uuid(0))["email"] == "grace@harbour.example"
