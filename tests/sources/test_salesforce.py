"""Salesforce outbound messages: SOAP of untrusted origin, ids in two forms, and a session that must not be kept."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import zeep.loader
import zeep.transports
import zeep.wsdl.utils
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from service.errors import ParseError, RequestError, TooLarge, VerificationError
from service.model import Action, Change, InboundRequest
from service.sources.base import Sample
from service.sources.salesforce import SalesforceSource
from service.sources.salesforce.envelope import TAGS_MAX
from service.sources.salesforce.records import long_id
from tests.support.crm import DATA, NOW, URL, as_event, build, fixture, fixtures, post
from tests.support.crms.salesforce import NOTIFICATION, ORGANIZATION, outbound, with_token

TOKEN = "8f2c7a1d-current"
SESSION = "00D5e000000KQ2e!AQ8AQHwogrxFUHYyM3M65BM_mzU63mbZl78iW8nEItuuU.GRQJ6r6"
SOURCE = build("salesforce", {"organization_id": ORGANIZATION, "token": TOKEN})
OUTBOUND = "http://soap.sforce.com/2005/09/outbound"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
SOAP: Any = zeep  # it has no types
WSDL = SOAP.Client(str(DATA / "salesforce" / "contact_outbound.wsdl"))

BILLION_LAUGHS = b"""<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY lol "lol">%s]><lolz>&lol9;</lolz>""" % b"".join(
    b'<!ENTITY lol%d "%s">' % (level, b"&lol%d;" % (level - 1) * 10) for level in range(2, 10)
)


def sent(body: bytes, *, token: str = TOKEN) -> InboundRequest:
    return post(body, {"content-type": "text/xml; charset=utf-8"}, url=with_token(token))


def record(*fields: str, kind: str = ' xsi:type="sf:Contact"') -> str:
    """Return a notification of a record with these elements."""
    namespace = "urn:sobject.enterprise.soap.sforce.com"
    start = f'<Notification><Id>04l5e00000Gx7QzAAJ</Id><sObject{kind} xmlns:sf="{namespace}">'
    return f"{start}{''.join(fields)}</sObject></Notification>"


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
    written = f"<sf:Description>{'x' * 8192}&lt;OrganizationId>{ORGANIZATION}</sf:Description>"
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
            SOURCE.verify(post(outbound(NOTIFICATION), {}, url=with_token(TOKEN) + padding), now=NOW)


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


# Hostile and broken XML

ENVELOPE = outbound(NOTIFICATION)
START = b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/">'


@pytest.mark.parametrize(
    "body",
    [
        BILLION_LAUGHS,
        b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>',
        b'<!DOCTYPE x SYSTEM "https://elsewhere.example/x.dtd"><x/>',
        b'<!DOCTYPE x [<!ENTITY % p SYSTEM "https://elsewhere.example/p"> %p;]><x/>',
        b"<!DOCTYPE x>" + ENVELOPE.partition(b"?>\n")[2],
        ENVELOPE.replace(b"Amara", b"&amara;"),
        ENVELOPE.replace(b"Amara", b"&#0;"),
        ENVELOPE.replace(b"Amara", b"&#xD800;"),
        ENVELOPE.replace(b"Amara", b"\x00"),
        ENVELOPE.replace(b"Amara", b"\x0b"),
        ENVELOPE.replace(b"Amara", b"\xed\xa0\x80"),
        ENVELOPE.replace(b"Amara", b"\xff"),
        ENVELOPE.replace(b"Amara", b"<![CDATA[Amara"),
        ENVELOPE.replace(b"Amara", b"<!-- Amara"),
        ENVELOPE.replace(b"Amara", b"<? Amara"),
        ENVELOPE.replace(b' xmlns:sf="urn:sobject.enterprise.soap.sforce.com"', b""),
        ENVELOPE.replace(b'"UTF-8"', b'"ISO-8859-1"'),
        ENVELOPE.replace(b'"UTF-8"', b'"UTF-16"'),
        ENVELOPE.replace(b'"UTF-8"', b'"utf-7"'),
        ENVELOPE.decode().encode("utf-16"),
        ENVELOPE.decode().encode("utf-16-le"),
        ENVELOPE.decode().encode("utf-32"),
        ENVELOPE[:-20],
        ENVELOPE + b"<more/>",
        ENVELOPE + ENVELOPE,
        b"<a " + b" ".join(b'a%d="1"' % number for number in range(40_000)) + b"/>",
        b"<a " + b" ".join(b'xmlns:a%d="u%d"' % (number, number) for number in range(20_000)) + b"/>",
        b'<a b="' + b"1" * 1_000_000 + b'"/>',
        b"<a>" * 90_000,
        b"<a>" * 90_000 + b"</a>" * 90_000,
        START + b"<s:Body>" + b"<a>" * 40_000 + b"</a>" * 40_000 + b"</s:Body></s:Envelope>",
        b"<" + b"a" * 1_000_000 + b"/>",
        b"<a>" + b"&amp;" * 200_000 + b"</a>",
        b"\xef\xbb\xbf",
        b" \n",
    ],
)
def test_hostile_xml_is_refused_fast_and_nothing_of_it_is_kept_or_shown(body: bytes) -> None:
    began = time.perf_counter()
    with pytest.raises(ParseError) as refused:
        SOURCE.parse(sent(body))
    kept = SOURCE.redact(sent(body))
    assert time.perf_counter() - began < 2  # milliseconds, but the machine may be busy
    assert "Amara" not in f"{refused.value} {refused.value.hint}"
    assert SESSION.encode() not in kept.body


def test_more_tags_than_any_message_has_are_refused_before_they_are_read() -> None:
    with pytest.raises(TooLarge, match=str(TAGS_MAX)):
        SOURCE.parse(sent(b"<a>" * (TAGS_MAX + 1)))


@pytest.mark.parametrize("declared", [b"UTF-8", b"utf-8", b"US-ASCII", None])
def test_utf_8_is_read_under_any_of_its_names_and_without_one(declared: bytes | None) -> None:
    body = ENVELOPE.replace(b' encoding="UTF-8"', b"" if declared is None else b' encoding="%s"' % declared)
    assert SOURCE.parse(sent(body)) == SOURCE.parse(sent(ENVELOPE))
    assert SOURCE.parse(sent(b"\xef\xbb\xbf" + body)) == SOURCE.parse(sent(ENVELOPE))
    assert SOURCE.parse(sent(body.partition(b"?>")[2])) == SOURCE.parse(sent(ENVELOPE))


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (b"2005/09/outbound", b"2006/09/outbound"),
        (b"schemas.xmlsoap.org/soap/envelope/", b"www.w3.org/2003/05/soap-envelope"),
        (b"notifications", b"notificationsResponse"),
        (b"soapenv:Body", b"soapenv:Header"),
        (b"Notification>", b"notification>"),
        (b"soapenv:Envelope", b"soapenv:Letter"),
    ],
)
def test_what_is_no_outbound_message_is_refused(was: bytes, becomes: bytes) -> None:
    assert was in ENVELOPE
    with pytest.raises(ParseError):
        SOURCE.parse(sent(ENVELOPE.replace(was, becomes)))


def test_a_message_without_its_organization_is_refused() -> None:
    for empty in (b"", b"<OrganizationId/>"):
        tag = f"<OrganizationId>{ORGANIZATION}</OrganizationId>".encode()
        with pytest.raises(ParseError, match="OrganizationId"):
            SOURCE.parse(sent(ENVELOPE.replace(tag, empty)))


PIECES = [b"<!--", b"-->", b"<![CDATA[", b"]]>", b"<SessionId>", b"</SessionId>", b"<?x", b"?>", b"&lt;", b"\x00", b">"]


@settings(max_examples=150, deadline=None)
@given(drawn=st.data())
def test_a_message_broken_anywhere_raises_only_the_documented_errors(drawn: st.DataObject) -> None:
    body = outbound(NOTIFICATION, NOTIFICATION, session=SESSION)
    for _ in range(drawn.draw(st.integers(1, 4))):
        place = drawn.draw(st.integers(0, len(body)))
        body = body[:place] + drawn.draw(st.sampled_from(PIECES)) + body[place + drawn.draw(st.integers(0, 3)) :]
    kept = SOURCE.redact(sent(body))
    try:
        changes = SOURCE.parse(sent(body))
    except RequestError:
        return
    assert SOURCE.parse(kept) == changes


# What is kept


@pytest.mark.parametrize(
    "element",
    [
        f"<SessionId>{SESSION}</SessionId>",
        f"<SessionId >\n{SESSION}</SessionId\n>",
        f'<SessionId a="&gt;>">{SESSION}</SessionId>',
        f"<SessionId><![CDATA[{SESSION}]]></SessionId>",
        f"<SessionId><![CDATA[</SessionId>]]>{SESSION}</SessionId>",
        f"<SessionId><!-- </SessionId> -->{SESSION}</SessionId>",
        f'<o:SessionId xmlns:o="{OUTBOUND}">{SESSION}</o:SessionId>',
        f"<SessionId>{SESSION}</SessionId><SessionId>{SESSION}</SessionId>",
        f'<!-- <SessionId>old</SessionId> --><SessionId xsi:nil="true"/><SessionId>{SESSION}</SessionId>',
    ],
)
def test_no_session_is_kept_however_it_is_written(element: str) -> None:
    body = outbound(NOTIFICATION).replace(b'<SessionId xsi:nil="true"/>', element.encode())
    assert SESSION.encode() in body
    kept = SOURCE.redact(sent(body))
    assert SESSION.encode() not in kept.body
    assert SOURCE.parse(kept) == SOURCE.parse(sent(body))


def test_what_people_wrote_about_sessions_is_kept() -> None:
    note = "<sf:Description>a <![CDATA[<SessionId>x</SessionId>]]> <!-- <SessionId> --> note</sf:Description>"
    body = outbound(record("<sf:Id>0035e00000ZkM3hAAF</sf:Id>", note), session=SESSION)
    (change,) = SOURCE.parse(SOURCE.redact(sent(body)))
    assert change.values["Description"] == "a <SessionId>x</SessionId>  note"


@pytest.mark.parametrize(
    "body",
    [
        outbound(record("<sf:Title>CFO</sf:Title>", f"<SessionId>{SESSION}</SessionId>")),
        outbound(record(f"<sf:Title>C<SessionId>{SESSION}</SessionId>FO</sf:Title>")),
        outbound(NOTIFICATION, organization=f"{ORGANIZATION}<SessionId>{SESSION}</SessionId>"),
        outbound(NOTIFICATION, session=f"<SessionId>{SESSION}</SessionId>"),
    ],
)
def test_a_session_is_refused_where_taking_it_out_would_change_what_is_read(body: bytes) -> None:
    assert SESSION.encode() in body
    assert SESSION.encode() not in SOURCE.redact(sent(body)).body
    with pytest.raises(ParseError, match="SessionId where none may be"):
        SOURCE.parse(sent(body))


def test_a_session_is_not_kept_wherever_it_stands() -> None:
    late = outbound(NOTIFICATION, f"<SessionId>{SESSION}</SessionId>", NOTIFICATION)
    kept = SOURCE.redact(sent(late))
    assert SESSION.encode() not in kept.body
    assert SOURCE.parse(kept) == SOURCE.parse(sent(late))


@pytest.mark.parametrize(
    "body",
    [
        f"<SessionId>{SESSION}".encode(),
        f'<SessionId xmlns="{OUTBOUND}">{SESSION}</SessionId>'.encode(),
        outbound(session=SESSION),
        outbound(NOTIFICATION, session=f"<SessionId>{SESSION}</SessionId>{SESSION}<SessionId/>"),
        outbound(NOTIFICATION, session=SESSION)[:-20],
        outbound(NOTIFICATION, session=SESSION).replace(b"</SessionId>", b""),
        outbound(NOTIFICATION, session=f"{SESSION}</SessionId><SessionId>"),
        b"<!DOCTYPE a>" + outbound(NOTIFICATION, session=SESSION),
        outbound(NOTIFICATION, session=SESSION).decode().encode("utf-16"),
    ],
)
def test_no_session_is_kept_of_what_cannot_be_read(body: bytes) -> None:
    kept = SOURCE.redact(sent(body)).body
    assert SESSION.encode() not in kept


def test_the_rest_of_a_message_is_kept_as_it_came() -> None:
    assert SOURCE.redact(sent(ENVELOPE)).body == ENVELOPE
    with_session = outbound(NOTIFICATION, session=SESSION)
    kept = with_session.replace(f"<SessionId>{SESSION}</SessionId>".encode(), b"")
    assert SOURCE.redact(sent(with_session)).body == kept


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        (f"?token={TOKEN}", ""),
        (f"?portal=1&token={TOKEN}&x=2", "?portal=1&x=2"),
        (f"?%74oken={TOKEN}&token=", ""),
        ("?tokens=1", "?tokens=1"),
        ("", ""),
    ],
)
def test_the_token_is_taken_out_of_the_address_and_nothing_else(query: str, kept: str) -> None:
    url = "https://hooks.northwind.example/webhooks/salesforce"
    assert SOURCE.redact(post(ENVELOPE, {}, url=url + query)).url == url + kept


def test_a_session_is_in_no_change_and_in_no_repr() -> None:
    request = sent(outbound(NOTIFICATION, session=SESSION))
    (change,) = SOURCE.parse(request)
    assert SESSION not in f"{request!r} {change!r} {as_event(change)}"
    assert TOKEN not in f"{request!r} {SOURCE.auth!r}"


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
