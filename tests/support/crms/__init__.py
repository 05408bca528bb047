"""The CRMs by preset, a file each: how it signs, and one request of each way of proof."""

from typing import Final

from tests.support.crm import Crm
from tests.support.crms import attio, close, dataverse, generic, hubspot, intercom, pipedrive, salesforce, zoho

CRMS: Final[tuple[Crm, ...]] = tuple(
    crm
    for module in (pipedrive, hubspot, salesforce, intercom, zoho, close, attio, dataverse, generic)
    for crm in module.CRMS
)
"""Every way of proof that is under the contract; a preset that has none here fails the contract's own test."""
