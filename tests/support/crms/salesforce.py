"""Salesforce outbound messages: a token in the address, and the organization's id in the message."""

from typing import Final
from urllib.parse import quote

from service.model import InboundRequest
from tests.support.crm import TEXT_SECRETS, URL, Crm, post

ORGANIZATION: Final = "00D5e000000KQ2eEAG"
NOTIFICATION: Final = """\
   <Notification>
    <Id>04l5e00000Gx7QzAAJ</Id>
    <sObject xsi:type="sf:Contact" xmlns:sf="urn:sobject.enterprise.soap.sforce.com">
     <sf:Id>991</sf:Id>
     <sf:CreatedDate>2025-11-18T14:02:11.000Z</sf:CreatedDate>
     <sf:Email>amara.okafor@northwind.example</sf:Email>
     <sf:FirstName>Amara</sf:FirstName>
     <sf:LastModifiedById>0055e000003tKrNAAU</sf:LastModifiedById>
     <sf:LastModifiedDate>2026-03-02T09:29:58.000Z</sf:LastModifiedDate>
    </sObject>
   </Notification>
"""
ACK: Final = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>'
    '<notificationsResponse xmlns="http://soap.sforce.com/2005/09/outbound"><Ack>true</Ack></notificationsResponse>'
    "</soapenv:Body></soapenv:Envelope>"
)


def outbound(*notifications: str, session: str | None = None, organization: str = ORGANIZATION) -> bytes:
    """Return a message as Salesforce lays it out."""
    session_id = '<SessionId xsi:nil="true"/>' if session is None else f"<SessionId>{session}</SessionId>"
    return f"""\
<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" \
xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
 <soapenv:Body>
  <notifications xmlns="http://soap.sforce.com/2005/09/outbound">
   <OrganizationId>{organization}</OrganizationId>
   <ActionId>04k5e000000CaRkAAK</ActionId>
   {session_id}
   <EnterpriseUrl>https://northwind.my.salesforce.com/services/Soap/c/61.0/00D5e000000KQ2e</EnterpriseUrl>
   <PartnerUrl>https://northwind.my.salesforce.com/services/Soap/u/61.0/00D5e000000KQ2e</PartnerUrl>
{"".join(notifications)}  </notifications>
 </soapenv:Body>
</soapenv:Envelope>
""".encode()


def with_token(secret: str, *, url: str = URL) -> str:
    """Return the address that Salesforce was given."""
    return f"{url}&token={quote(secret, safe='')}"


def record(*fields: str, kind: str = ' xsi:type="sf:Contact"') -> str:
    """Return a notification of a record with these elements."""
    namespace = "urn:sobject.enterprise.soap.sforce.com"
    start = f'<Notification><Id>04l5e00000Gx7QzAAJ</Id><sObject{kind} xmlns:sf="{namespace}">'
    return f"{start}{''.join(fields)}</sObject></Notification>"


def sent(body: bytes, *, token: str = TEXT_SECRETS[0]) -> InboundRequest:
    """Return a message on its way to the address with a token."""
    return post(body, {"content-type": "text/xml; charset=utf-8"}, url=with_token(token))


CRMS: Final = (
    Crm(
        name="salesforce",
        preset="salesforce",
        secrets=TEXT_SECRETS,
        auth=lambda secrets: {"organization_id": ORGANIZATION, "token": secrets},
        sign=lambda _secret, _body, _at: {"soapaction": '""'},
        url=with_token,
        body=outbound(NOTIFICATION),
        content_type="text/xml; charset=utf-8",
        incidental=frozenset({"soapaction"}),
        batch=lambda _body, count: outbound(*[NOTIFICATION] * count),
        breaks=(b"<sf:FirstName>Amara</sf:FirstName>", b"<sf:FirstName>Amara"),
        covers_body=False,
        covers_time=False,
        accepts=ACK.encode(),
    ),
)
