"""Read-back: the CRM's present record, for events that say only that something changed; here is the register."""

from typing import Any, Final

from service.readback.attio import AttioReader
from service.readback.base import Reader
from service.readback.dataverse import DataverseReader
from service.readback.hubspot import HubSpotReader
from service.readback.intercom import IntercomReader
from service.readback.zoho import ZohoReader

READERS: Final[dict[str, type[Reader[Any]]]] = {
    reader.preset: reader for reader in (AttioReader, IntercomReader, ZohoReader, HubSpotReader, DataverseReader)
}
"""The CRMs that can be asked for a record, by preset."""
