"""The CRMs: one file each proves a request and reads its changes, pure; here is the register of them."""

from typing import Any, Final

from service.sources.attio import AttioSource
from service.sources.base import Source
from service.sources.close import CloseSource
from service.sources.dataverse import DataverseSource
from service.sources.generic import GenericSource
from service.sources.hubspot import HubSpotSource
from service.sources.intercom import IntercomSource
from service.sources.pipedrive import PipedriveSource
from service.sources.salesforce import SalesforceSource
from service.sources.zoho import ZohoSource

PRESETS: Final[dict[str, type[Source[Any]]]] = {
    source.preset: source
    for source in (
        HubSpotSource,
        PipedriveSource,
        AttioSource,
        CloseSource,
        IntercomSource,
        SalesforceSource,
        ZohoSource,
        DataverseSource,
        GenericSource,
    )
}
"""What stands under ``preset`` in the configuration."""
