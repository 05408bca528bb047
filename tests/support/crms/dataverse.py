"""Dataverse: a value in a header or in the address, and no signature."""

import json
from typing import Final
from urllib.parse import quote

from tests.support.crm import TEXT_SECRETS, URL, Crm

_DATAVERSE: Final = json.dumps(
    {
        "Depth": 1,
        "InitiatingUserId": "75c2dd85-e89e-e711-8122-000d3aa2331c",
        "InputParameters": [
            {
                "key": "Target",
                "value": {
                    "__type": "Entity:http://schemas.microsoft.com/xrm/2011/Contracts",
                    "Attributes": [
                        {"key": "firstname", "value": "Amara"},
                        {"key": "modifiedon", "value": "/Date(1772443798000)/"},
                    ],
                    "LogicalName": "contact",
                },
            }
        ],
        "MessageName": "Update",
        "OperationCreatedOn": "/Date(1772443798412)/",
        "OperationId": "4af10637-4ea2-e711-8122-000d3aa2331c",
        "OrganizationId": "4ef5b371-e89e-e711-8122-000d3aa2331c",
        "OwningExtension": {"Id": "75417616-4ea2-e711-8122-000d3aa2331c"},
        "PrimaryEntityId": "991",
        "PrimaryEntityName": "contact",
    }
).encode()
CRMS: Final = (
    Crm(
        name="dataverse header",
        preset="dataverse",
        secrets=TEXT_SECRETS,
        auth=lambda secrets: {"token": secrets, "header": "X-Webhook-Token"},
        sign=lambda secret, _body, _at: {"x-webhook-token": secret},
        body=_DATAVERSE,
        covers_body=False,
        covers_time=False,
    ),
    Crm(
        name="dataverse webhook key",
        preset="dataverse",
        secrets=TEXT_SECRETS,
        auth=lambda secrets: {"token": secrets, "query": "code"},
        sign=lambda _secret, _body, _at: {},
        url=lambda secret: f"{URL}&code={quote(secret, safe='')}",
        body=_DATAVERSE,
        covers_body=False,
        covers_time=False,
    ),
)
