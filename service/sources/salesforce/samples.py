"""Sample messages, as Salesforce writes them."""

import html
import re
from collections.abc import Iterator
from hashlib import sha256
from typing import Final

from service.model import Json
from service.paths import as_text
from service.sources.base import Sample
from service.sources.salesforce.envelope import INSTANCE, OUTBOUND, SOAP
from service.sources.salesforce.records import long_id
from service.times import isoformat_z

_SCHEMA: Final = "http://www.w3.org/2001/XMLSchema"
_SOBJECT: Final = "urn:sobject.enterprise.soap.sforce.com"
_FIELDS: Final = {
    "first_name": "FirstName",
    "last_name": "LastName",
    "email": "Email",
    "phone": "Phone",
    "title": "Title",
}


def message(sample: Sample, organization: str) -> str:
    """Return the message that would tell of a sample change."""
    event_id = long_id(f"04l{sha256(sample.event_id.encode()).hexdigest()[:12]}")
    host = "https://northwind.my.salesforce.com/services/Soap"
    fields = "".join(_fields(sample))
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<soapenv:Envelope xmlns:soapenv="{SOAP}" xmlns:xsd="{_SCHEMA}" xmlns:xsi="{INSTANCE}">'
        f'<soapenv:Body><notifications xmlns="{OUTBOUND}">'
        f"<OrganizationId>{organization}</OrganizationId><ActionId>04k5e000000CaRkAAK</ActionId>"
        '<SessionId xsi:nil="true"/>'
        f"<EnterpriseUrl>{host}/c/61.0/{organization[:15]}</EnterpriseUrl>"
        f"<PartnerUrl>{host}/u/61.0/{organization[:15]}</PartnerUrl>"
        f'<Notification><Id>{event_id}</Id><sObject xsi:type="sf:Contact" xmlns:sf="{_SOBJECT}">'
        f"{fields}</sObject></Notification></notifications></soapenv:Body></soapenv:Envelope>"
    )


def _fields(sample: Sample) -> Iterator[str]:
    """Yield the record's elements: its id, then the others by name."""
    at = isoformat_z(sample.at)
    record: dict[str, Json] = {
        "CreatedDate": at if sample.created else "2025-11-18T14:02:11.000Z",
        "LastModifiedById": "0055e000003tKrNAAU",
        "LastModifiedDate": at,
        **{_name(name): value for name, value in sample.fields.items()},
    }
    for name, value in [("Id", sample.object_id), *sorted(record.items())]:
        if value is None:
            yield f'<sf:{name} xsi:nil="true"/>'
        else:
            yield f"<sf:{name}>{html.escape(as_text(value), quote=False)}</sf:{name}>"


def _name(name: str) -> str:
    """Return a field's name: a standard one, or as Salesforce names a custom field of that label."""
    if name in _FIELDS or name.endswith("__c"):
        return _FIELDS.get(name, name)
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_") + "__c"
