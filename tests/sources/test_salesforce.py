"""Salesforce outbound messages: SOAP of untrusted origin, ids in two forms, and a session that must not be kept."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import zeep.loader
import zeep.transports
import zeep.wsdl.utils
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.errors import ParseError, VerificationError
from service.model import Action, Change
from service.sources.base import Sample
from service.sources.salesforce import SalesforceSource
from service.sources.salesforce.records import long_id
from tests.support.crm import DATA, NOW, URL, as_event, build, fixture, fixtures, post
from tests.support.crms.salesforce import NOTIFICATION, ORGANIZATION, outbound, record, sent

TOKEN = "8f2c7a1d-current"
SOURCE = build("salesforce", {"organization_id": ORGANIZATION, "token": TOKEN})
OUTBOUND = "http://soap.sforce.com/2005/09/outbound"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
SOAP: Any = zeep  # it has no types
WSDL = SOAP.Client(str(DATA / "salesforce" / "contact_outbound.wsdl"))


def read(*fields: str, kind: str = ' xsi:type="sf:Contact"') -> Change:
    (change,) = SOURCE.parse(sent(outbound(record("<sf:Id>0035e00000ZkM3hAAF</sf:Id>", *fields, kind=kind))))
    return change


@pytest.mark.parametrize("name", fixtures("salesforce"))
def test_an_example_message_reads_as_expected(name: str) -> None:
    request, expected = fixture("salesforce", name)
    SOURCE.verify(request, now=NOW)
    assert [as_event(change) for change in SOURCE.parse(request)] == expected["events"]
    assert SOURCE.parse(SOURCE.redact(request)) == SOURCE.parse(request)


# The proof


@pytest.mark.parametrize("configured", [ORGANIZATION, ORGANIZATION[:15]])
@pytest.mark.parametrize("given_id", [ORGANIZATION, ORGANIZATION[:15], f"\n  {ORGANIZATION}\n  "])
def test_the_organization_is_known_by_either_form_of_its_id(configured: str, given_id: str) -> None:
    source = build("salesforce", {"organization_id": configured, "token": TOKEN})
    source.verify(sent(outbound(NOTIFICATION, organization=given_id)), now=NOW)


@pytest.mark.parametrize(
    "given_id",
    [
        "00D5e000000kq2e",  # another organization, though the letters are the same
        "00D5e000000KQ2eEAH",
        "00D5e000000KQ2eEA",
        "00D5e000000KQ2eEAGX",
        "00D5e000000KQ2f",
        "",
        "00D5e000000KQ2<!-- -->eEAG",
    ],
)
def test_another_organization_is_refused_though_the_token_is_right(given_id: str) -> None:
    """A sandbox is made as a copy, with the address and so the token of its original."""
    with pytest.raises(VerificationError, match="organization"):
        SOURCE.verify(sent(outbound(NOTIFICATION, organization=given_id)), now=NOW)


def test_the_organization_is_looked_for_where_it_stands_and_not_in_what_people_wrote() -> None:
    written = f"<sf:Description><![CDATA[<OrganizationId>{ORGANIZATION}</OrganizationId>]]></sf:Description>"
    body = outbound(record(written), organization="00D5e000000XXXX")
    with pytest.raises(VerificationError):
        SOURCE.verify(sent(body), now=NOW)
    with pytest.raises(VerificationError):
        SOURCE.verify(sent(b" " + b"<!-- -->" * 2000 + outbound(NOTIFICATION)), now=NOW)


def test_the_organizations_id_may_have_a_prefix_and_attributes() -> None:
    tag = f'<o:OrganizationId xsi:type="xsd:string">{ORGANIZATION}</o:OrganizationId>'.encode()
    SOURCE.verify(sent(b"<o:notifications>" + tag), now=NOW)


@pytest.mark.parametrize(
    "query",
    ["", "?", "?token=", "?token", "?Token=" + TOKEN, "?token=" + TOKEN[:-1], "?x=token=" + TOKEN, "#?token=" + TOKEN],
)
def test_a_missing_or_wrong_token_is_refused_though_the_organization_is_right(query: str) -> None:
    url = "https://hooks.northwind.example/webhooks/salesforce" + query
    with pytest.raises(VerificationError, match="token"):
        SOURCE.verify(post(outbound(NOTIFICATION), {}, url=url), now=NOW)


@pytest.mark.parametrize(
    ("token", "written"),
    [("a b", "a+b"), ("a+b", "a+b"), ("ü&=?#/%", quote("ü&=?#/%", safe="")), ("100%25", "100%2525")],
)
def test_a_token_may_have_any_signs(token: str, written: str) -> None:
    source = build("salesforce", {"organization_id": ORGANIZATION, "token": token})
    source.verify(sent(outbound(NOTIFICATION), token=token), now=NOW)
    source.verify(post(outbound(NOTIFICATION), {}, url=f"{URL}&token={written}"), now=NOW)


def test_a_query_past_the_limits_is_refused() -> None:
    for padding in ("&a=" + "b" * 8192, "&a" * 100):
        with pytest.raises(VerificationError, match="8192 characters or 100 parameters"):
            SOURCE.verify(post(outbound(NOTIFICATION), {}, url=sent(b"").url + padding), now=NOW)


@pytest.mark.parametrize(
    "organization_id",
    ["", "00D5e000000KQ2", "00d5e000000KQ2e", "00D5e000000KQ2eEAH", "00D5e000000KQ2eeag", "991", "0" * 15],
)
def test_what_is_no_organizations_id_is_refused_at_load(organization_id: str) -> None:
    """Above all one whose case was lost on the way: it would never match."""
    with pytest.raises(ValidationError, match="15 or 18 characters"):
        SalesforceSource.Auth.model_validate({"organization_id": organization_id, "token": TOKEN})


# Ids


@pytest.mark.parametrize(
    "known",
    [
        "00D5e000000KQ2eEAG",
        "04k5e000000CaRkAAK",
        "0015e00000ZkM3hAAF",
        "00Dn00000008y2tEAA",
        "003n000000NOtUbAAL",
        "005n0000002w77JAAQ",
        "001n000000KABYLAA5",
    ],
)
def test_the_long_form_of_an_id_is_that_of_salesforce(known: str) -> None:
    """Ids as they stand in messages that others have published."""
    assert long_id(known[:15]) == known
    assert long_id(known) == known


@pytest.mark.parametrize("text", ["", "991", "003n000000NOtU", "003n000000NOt-b", "003n000000NOtUü"])
def test_what_is_no_short_id_stays_as_it_is(text: str) -> None:
    assert long_id(text) == text


def test_two_records_whose_ids_differ_by_case_alone_stay_two() -> None:
    assert long_id("003n000000NOtUb") != long_id("003n000000notub")
    assert long_id("003n000000NOtUb").lower() != long_id("003n000000notub").lower()


# Records


def test_a_field_is_text_blank_nil_or_absent() -> None:
    values = read("<sf:A>x</sf:A>", "<sf:B></sf:B>", '<sf:C xsi:nil="true"/>', '<sf:D xsi:nil="false">y</sf:D>').values
    assert values == {"Id": "0035e00000ZkM3hAAF", "A": "x", "B": "", "C": None, "D": "y"}


def test_a_value_is_whole_in_spite_of_comments_and_cdata() -> None:
    values = read("<sf:A>R<!-- no -->&amp;<![CDATA[<D> & ]]>x<?php no?>y</sf:A>").values
    assert values["A"] == "R&<D> & xy"


def test_a_field_of_several_parts_is_an_object() -> None:
    values = read("<sf:MailingAddress> <sf:city>Lagos</sf:city><sf:street/></sf:MailingAddress>").values
    assert values["MailingAddress"] == {"city": "Lagos", "street": ""}


@pytest.mark.parametrize(("deep", "read_at_all"), [(64, True), (65, False)])
def test_a_field_is_as_deep_as_any_json_may_be(deep: int, read_at_all: bool) -> None:  # noqa: FBT001  # a table of cases
    field = "<sf:A>" * (deep + 1) + "</sf:A>" * (deep + 1)
    if read_at_all:
        assert "A" in read(field).values
    else:
        with pytest.raises(ParseError, match="deeper than 64"):
            read(field)


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\ufffe\uffff", exclude_categories=["Cc", "Cs"]))


@given(value=TEXT, entities=st.booleans())
def test_any_text_survives(value: str, entities: bool) -> None:  # noqa: FBT001  # drawn
    escaped = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    if entities:
        escaped = "".join(f"&#{ord(sign)};" for sign in value)
    assert read(f"<sf:Title>{escaped}</sf:Title>").values["Title"] == value


@pytest.mark.parametrize(
    ("kind", "object_type", "reason"),
    [
        (' xsi:type="sf:Lead"', "lead", "object type lead"),
        (' xsi:type="sf:Project__c"', "project__c", "object type project__c"),
        ("", "unknown", "object type unknown"),
        (' xsi:type=""', "unknown", "object type unknown"),
        (' xsi:type="sf:amara.okafor@northwind.example"', "unknown", "object type unknown"),
        (' type="sf:Contact"', "unknown", "object type unknown"),
    ],
)
def test_what_is_no_contact_is_kept_and_ignored_without_its_fields(kind: str, object_type: str, reason: str) -> None:
    change = read("<sf:Name>Amara Okafor</sf:Name>", kind=kind)
    assert (change.object_type, change.ignored, dict(change.values)) == (object_type, reason, {})


@pytest.mark.parametrize(
    ("dates", "action"),
    [
        ("<sf:CreatedDate>{m}</sf:CreatedDate><sf:LastModifiedDate>{m}</sf:LastModifiedDate>", Action.CREATED),
        ("<sf:CreatedDate>{c}</sf:CreatedDate><sf:LastModifiedDate>{m}</sf:LastModifiedDate>", Action.UPDATED),
        ("<sf:CreatedDate>{m}</sf:CreatedDate><sf:SystemModstamp>{m}</sf:SystemModstamp>", Action.UPDATED),
        ("<sf:LastModifiedDate>{m}</sf:LastModifiedDate>", Action.UPDATED),
        ("<sf:CreatedDate/><sf:LastModifiedDate/>", Action.UPDATED),
    ],
)
def test_only_a_record_that_was_never_modified_counts_as_created(dates: str, action: Action) -> None:
    change = read(dates.format(c="2025-11-18T14:02:11.000Z", m="2026-03-02T09:29:58.000Z"), "<sf:Title>CFO</sf:Title>")
    assert change.action is action


def test_the_date_of_the_last_change_orders_also_beside_the_systems_own() -> None:
    """Exports are ordered by LastModifiedDate: there must be one clock for both."""
    modified = "<sf:LastModifiedDate>2026-03-02T09:29:58.000Z</sf:LastModifiedDate>"
    change = read("<sf:SystemModstamp>2026-03-02T09:31:00.000Z</sf:SystemModstamp>", modified)
    assert change.occurred_at == datetime(2026, 3, 2, 9, 29, 58, tzinfo=UTC)
    assert SOURCE.exported.updated_at == "LastModifiedDate"


def test_a_record_has_one_id_whatever_its_form() -> None:
    short = outbound(record("<sf:Id> 0035e00000ZkM3h\n</sf:Id>", "<sf:Title>CFO</sf:Title>"))
    (change,) = SOURCE.parse(sent(short))
    assert change.object_id == read("<sf:Title>CFO</sf:Title>").object_id == "0035e00000ZkM3hAAF"


@pytest.mark.parametrize("actor", ["amara.okafor@northwind.example", "", "<sf:a>1</sf:a>"])
def test_an_actor_that_is_odd_does_not_cost_the_change(actor: str) -> None:
    change = read(f"<sf:LastModifiedById>{actor}</sf:LastModifiedById>")
    assert (change.actor or None, change.ignored) == (None, None)


@pytest.mark.parametrize(
    ("was", "becomes", "what"),
    [
        ("<sf:Id>991</sf:Id>", "", "sObject/Id"),
        ("<sf:Id>991</sf:Id>", '<sf:Id xsi:nil="true"/>', "sObject/Id"),
        ("<sf:Id>991</sf:Id>", "<sf:Id><sf:a>991</sf:a></sf:Id>", "sObject/Id"),
        ("<sf:Id>991</sf:Id>", f"<sf:Id>{'9' * 256}</sf:Id>", "sObject/Id"),
        ("<Id>04l5e00000Gx7QzAAJ</Id>", "", "Notification/Id"),
        ("<Id>04l5e00000Gx7QzAAJ</Id>", "<Id/>", "Notification/Id"),
        ("<Id>04l5e00000Gx7QzAAJ</Id>", "<Id>04l5e\n0000</Id>", "Notification/Id"),
        ("2026-03-02T09:29:58.000Z", "yesterday", "LastModifiedDate"),
    ],
)
def test_what_tells_events_and_records_apart_must_be_whole(was: str, becomes: str, what: str) -> None:
    assert was in NOTIFICATION
    with pytest.raises(ParseError, match=what):
        SOURCE.parse(sent(outbound(NOTIFICATION.replace(was, becomes))))


def test_the_same_notification_of_two_organizations_is_two_changes() -> None:
    (one,) = SOURCE.parse(sent(outbound(NOTIFICATION)))
    (other,) = SOURCE.parse(sent(outbound(NOTIFICATION, organization="00Dn00000008y2tEAA")))
    (short,) = SOURCE.parse(sent(outbound(NOTIFICATION, organization=ORGANIZATION[:15])))
    assert one.dedup_key != other.dedup_key
    assert one == short


# The vendor's interface, by another implementation of SOAP


def zeep_message(**fields: Any) -> bytes:  # noqa: ANN401  # any value of the WSDL
    """Return what zeep makes of a contact by the listener's WSDL."""
    contact = WSDL.get_type("{urn:sobject.enterprise.soap.sforce.com}Contact")(Id="0035e00000ZkM3hAAF", **fields)
    envelope = WSDL.create_message(
        WSDL.service,
        "notifications",
        OrganizationId=ORGANIZATION,
        ActionId="04k5e000000CaRkAAK",
        SessionId=SOAP.xsd.Nil,
        EnterpriseUrl="https://northwind.my.salesforce.com/services/Soap/c/61.0/00D5e000000KQ2e",
        PartnerUrl="https://northwind.my.salesforce.com/services/Soap/u/61.0/00D5e000000KQ2e",
        Notification=[{"Id": "04l5e00000Gx7QzAAJ", "sObject": contact}],
    )
    for element in envelope.iter(f"{{{OUTBOUND}}}sObject"):  # zeep leaves a type out that is the declared one
        element.set(f"{{{XSI}}}type", "sf:Contact")
    made: bytes = SOAP.wsdl.utils.etree_to_string(envelope)
    return made


def zeep_document(body: bytes) -> Any:  # noqa: ANN401  # a tree
    return SOAP.loader.parse_xml(body, SOAP.transports.Transport())


def test_what_zeep_writes_by_the_wsdl_is_read() -> None:
    body = zeep_message(
        Email="amara.okafor@northwind.example",
        FirstName="Zoë & <Co>",
        LastModifiedDate=datetime(2026, 3, 2, 9, 29, 58, tzinfo=UTC),
        Phone=SOAP.xsd.Nil,
        DoNotCall=True,
        Seats__c=25.0,
    )
    SOURCE.verify(sent(body), now=NOW)
    (change,) = SOURCE.parse(sent(body))
    assert (change.object_id, change.ignored) == ("0035e00000ZkM3hAAF", None)
    assert change.occurred_at == datetime(2026, 3, 2, 9, 29, 58, tzinfo=UTC)
    assert change.values == {
        "Id": "0035e00000ZkM3hAAF",
        "DoNotCall": "true",
        "Email": "amara.okafor@northwind.example",
        "FirstName": "Zoë & <Co>",
        "LastModifiedDate": "2026-03-02T09:29:58Z",
        "Phone": None,
        "Seats__c": "25.0",
    }


@given(title=TEXT.filter(bool))
def test_any_text_that_zeep_writes_is_read_as_it_was(title: str) -> None:
    (change,) = SOURCE.parse(sent(zeep_message(Title=title)))
    assert change.values["Title"] == title


@pytest.mark.parametrize("status", [400, 401, 413, 500, 503])
def test_zeep_reads_our_answers_as_yes_and_no(status: int) -> None:
    operation = WSDL.service._binding.get("notifications")
    yes, no = SOURCE.accept(accepted=1, duplicates=0), SOURCE.refuse(status)
    assert no is not None
    assert (yes.status, no.status) == (200, status)
    for reply, acknowledged in ((yes, True), (no, False)):
        assert reply.headers["content-type"] == "text/xml; charset=utf-8"
        assert operation.process_reply(zeep_document(reply.body)) is acknowledged


@pytest.mark.parametrize(
    "path", sorted((DATA / "salesforce").glob("contact*.expected.json")), ids=lambda path: path.stem
)
def test_zeep_reads_the_example_messages_by_the_wsdl(path: Path) -> None:
    """So that the examples are messages by the vendor's interface, and not by our own idea of it."""
    request, expected = fixture("salesforce", path.name.removesuffix(".expected.json"))
    element = WSDL.get_element(f"{{{OUTBOUND}}}notifications")
    document = zeep_document(request.body.strip())
    message = element.parse(document.find(f".//{{{OUTBOUND}}}notifications"), WSDL.wsdl.types)
    (event,) = expected["events"]
    assert message.OrganizationId == event["tenant"]
    assert message.Notification[0].Id == event["crm_event_id"]
    assert message.Notification[0].sObject.Email == event["values"]["Email"]


# Samples


def test_a_sample_names_fields_as_salesforce_does() -> None:
    fields = {
        "first_name": "Amara",
        "title": "R&D <Lead>",
        "phone": None,
        "Lifecycle Stage": "Customer",
        "Seats__c": 25,
        "VIP?": True,
    }
    sample = Sample(object_id="0035e00000ZkM3h", event_id="e1", at=NOW, fields=fields)
    request = SOURCE.sample(sample, url=URL, now=NOW)
    (change,) = SOURCE.parse(request)
    assert change.object_id == "0035e00000ZkM3hAAF"
    assert {name: value for name, value in change.values.items() if "Date" not in name and "Id" not in name} == {
        "FirstName": "Amara",
        "Title": "R&D <Lead>",
        "Phone": None,
        "Lifecycle_Stage__c": "Customer",
        "Seats__c": "25",
        "VIP__c": "true",
    }


@pytest.mark.parametrize("url", ["https://hooks.northwind.example/webhooks/salesforce", URL])
def test_a_sample_carries_the_token_in_its_address(url: str) -> None:
    source = build("salesforce", {"organization_id": ORGANIZATION, "token": "a b&c"})
    request = source.sample(Sample(object_id="991", event_id="e1", at=NOW, fields={"title": "CFO"}), url=url, now=NOW)
    source.verify(request, now=NOW)
    assert source.redact(request).url == url


def test_an_exported_id_of_either_length_names_the_record_that_messages_name() -> None:
    source = build("salesforce", None)
    assert {source.record_id(text) for text in ("0035e00000ZkM3h", "0035e00000ZkM3hAAF")} == {"0035e00000ZkM3hAAF"}
