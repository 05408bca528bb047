"""Dataverse's read-back: one contact by its id, with the columns that are asked for.

``GET /api/data/v9.2/contacts(ID)?$select=…``
(https://learn.microsoft.com/power-apps/developer/data-platform/webapi/retrieve-entity-using-web-api) as an application
user, by client credentials of Microsoft Entra ID
(https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow). A contact that is not there is
not found. An application user is allowed 6000 calls in five minutes, 20 a second
(https://learn.microsoft.com/power-apps/developer/data-platform/api-limits).

Values are as the source lays them out. A lookup must be selected as ``_name_value`` and becomes its ``Id`` and
``LogicalName`` again; those of a contact are known, others are named in ``lookups``. A date without a time of day is
``2026-03-02`` here and has a midnight in events: ``to_date`` makes them the same. A column that does not exist makes
the call fail.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Final
from urllib.parse import quote

from pydantic import AfterValidator, Field, SecretStr

from service.model import Json
from service.readback.base import Call, Grant, ReadBackSpec, Reader, ReadError, Reading
from service.times import parse_instant

LOOKUPS: Final = frozenset(
    {
        *("accountid", "createdby", "createdbyexternalparty", "createdonbehalfby", "defaultpricelevelid", "masterid"),
        *("modifiedby", "modifiedbyexternalparty", "modifiedonbehalfby", "originatingleadid", "ownerid"),
        *("owningbusinessunit", "owningteam", "owninguser", "parentcontactid", "parentcustomerid"),
        *("preferredequipmentid", "preferredserviceid", "preferredsystemuserid", "slaid", "slainvokedid"),
        "transactioncurrencyid",
    }
)
"""The columns of a contact that refer to other records, of those that every environment has."""

_API: Final = "/api/data/v9.2"
_LOGIN: Final = "https://login.microsoftonline.com"
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,99}")
_LOOKUP: Final = re.compile(r"_([a-z][a-z0-9_]*)_value")
_TARGET: Final = "Microsoft.Dynamics.CRM.lookuplogicalname"
_GUID: Final = r"^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"

ColumnName = Annotated[str, Field(pattern=rf"^{_NAME.pattern}$", description="The logical name of a column.")]


class DataverseReadBack(ReadBackSpec):
    """The environment, and the application that may read its contacts."""

    organization: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.[Cc][Rr][Mm][0-9]{0,2}$",
            description="What stands before .dynamics.com in the environment's address, such as northwind.crm4.",
        ),
        AfterValidator(str.lower),
    ]
    tenant_id: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,250}[A-Za-z0-9])?$",
            description="The directory (tenant) id, or a domain of it.",
        ),
    ]
    client_id: Annotated[str, Field(pattern=_GUID, description="The application (client) id.")]
    client_secret: Annotated[
        SecretStr, Field(min_length=1, description="The value of a client secret; write it as ${NAME}.")
    ]
    lookups: Annotated[
        tuple[ColumnName, ...],
        Field(max_length=100, description="Your own columns that are lookups, where the mapping uses any."),
    ] = ()


class DataverseReader(Reader[DataverseReadBack]):
    """The contacts of a Dataverse environment, one a call."""

    preset: ClassVar[str] = "dataverse"
    Spec: ClassVar[type[ReadBackSpec]] = DataverseReadBack
    rate_per_s: ClassVar[float] = 10.0

    @property
    def host(self) -> str:
        """The environment's own address."""
        return f"https://{self.spec.organization}.dynamics.com"

    @property
    def grant(self) -> Grant | None:
        """Client credentials, for this environment alone."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self.spec.client_id,
            "client_secret": self.spec.client_secret.get_secret_value(),
            "scope": f"{self.host}/.default",
        }
        return Grant(f"{_LOGIN}/{self.spec.tenant_id}/oauth2/v2.0/token", form)

    def headers(self, token: str) -> Mapping[str, str]:
        """Return the headers that prove us, and that ask which table a lookup refers to."""
        asked = {"odata-version": "4.0", "odata-maxversion": "4.0", "prefer": f'odata.include-annotations="{_TARGET}"'}
        return {**super().headers(token), **asked}

    def call(self, object_ids: Sequence[str], fields: Sequence[str]) -> Call:
        """Ask for one contact; what no column can be called is not asked for."""
        lookups = LOOKUPS.union(self.spec.lookups)
        names = sorted({"modifiedon", *filter(_NAME.fullmatch, fields)})
        select = ",".join(f"_{name}_value" if name in lookups else name for name in names)
        contact = quote(object_ids[0], safe="").replace(".", "%2E")
        return Call("GET", f"{_API}/contacts({contact})", {"$select": select})

    def read(self, document: Json, object_ids: Sequence[str]) -> Mapping[str, Reading]:
        """Return the contact that was asked for. Raises ReadError, nothing else."""
        if not isinstance(document, dict):
            raise ReadError("the answer is not an object")
        asked, contact_id = object_ids[0], document.get("contactid")
        if not isinstance(contact_id, str) or contact_id.lower() != asked.lower():
            raise ReadError("contactid is not the id that was asked for")
        try:
            updated_at = parse_instant(document.get("modifiedon"))
        except ValueError:
            raise ReadError("modifiedon is not a time") from None
        return {asked: Reading(dict(_values(document)), updated_at)}

    def probe(self) -> Call | None:
        """Ask who we are: that needs the application user, but no contact."""
        return Call("GET", f"{_API}/WhoAmI")


def _values(row: dict[str, Json]) -> list[tuple[str, Json]]:
    """Return the columns of a row without what is told about them, lookups by their own names."""
    values: list[tuple[str, Json]] = []
    for name, value in row.items():
        if "@" in name:
            continue
        lookup = _LOOKUP.fullmatch(name)
        if lookup is None:
            values.append((name, value))
        else:
            target = row.get(f"{name}@{_TARGET}")
            values.append((lookup[1], None if value is None else {"Id": value, "LogicalName": target}))
    return values
