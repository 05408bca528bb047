"""Dataverse's contacts, one at a time, behind Microsoft's tokens.

https://learn.microsoft.com/power-apps/developer/data-platform/webapi/retrieve-entity-using-web-api
"""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from tests.support.apis.base import ApiAnswer, ApiRequest

TENANT: Final = "4ef5b371-e89e-4711-8122-000d3aa2331c"
USER: Final = "75c2dd85-e89e-e711-8122-000d3aa2331c"

_TOKEN: Final = "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJub3J0aHdpbmQifQ.c2lnbmVk"
_CONTACT: Final = re.compile(r"/api/data/v9\.2/contacts\((?P<id>[^()/]+)\)")
_GUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_COLUMNS: Final = frozenset(
    {
        *("firstname", "lastname", "fullname", "emailaddress1", "telephone1", "mobilephone", "jobtitle", "description"),
        *(
            "birthdate",
            "createdon",
            "modifiedon",
            "creditlimit",
            "preferredcontactmethodcode",
            "statecode",
            "statuscode",
        ),
        *("donotemail", "websiteurl", "department", "merged", "_parentcustomerid_value", "_ownerid_value"),
        *("_modifiedby_value", "_masterid_value"),
    }
)
_OWN: Final = re.compile(r"_?[a-z]{2,8}_[a-z0-9_]+")
"""Columns of the customer's own, with the prefix of a publisher."""
_ABOUT_LOOKUPS: Final = 'odata.include-annotations="Microsoft.Dynamics.CRM.lookuplogicalname"'


class Api:
    """An environment with its contacts, and the directory that lets its application in."""

    def __init__(self) -> None:
        self.credentials: Mapping[str, str] = {
            "organization": "northwind.crm4",
            "tenant_id": TENANT,
            "client_id": "0b6d8f2e-1f5c-4d2c-9a55-0d3f6b0f8a11",
            "client_secret": "8Q~aB3dE_fGhIjKlMnOpQrStUvWxYz0123456789",
        }
        self.records: dict[str, dict[str, Any]] = {}

    def answer(self, request: ApiRequest) -> ApiAnswer:
        """Answer as Microsoft does: the directory gives tokens, the environment asks for one before all else."""
        if request.path == f"/{self.credentials['tenant_id']}/oauth2/v2.0/token":
            return self._grant(request)
        if request.headers.get("authorization") != f"Bearer {_TOKEN}":
            return ApiAnswer(401, headers={"www-authenticate": "Bearer error=invalid_token"})
        if request.method != "GET":
            return _refusal(405, "0x80060888", f"The HTTP method '{request.method}' is not allowed here.")
        if request.path == "/api/data/v9.2/WhoAmI":
            return ApiAnswer(200, {"@odata.context": "…/$metadata#WhoAmIResponse", "UserId": USER})
        asked = _CONTACT.fullmatch(request.path)
        if asked is None:
            return _refusal(404, "0x8006088a", "Resource not found for the segment.")
        return self._contact(unquote(asked["id"]), request)

    def _grant(self, request: ApiRequest) -> ApiAnswer:
        form = dict(parse_qsl(request.body.decode()))
        if form.get("grant_type") != "client_credentials":
            return ApiAnswer(400, {"error": "unsupported_grant_type", "error_description": "AADSTS70003"})
        if form.get("scope") != f"https://{self.credentials['organization']}.dynamics.com/.default":
            return ApiAnswer(400, {"error": "invalid_scope", "error_description": "AADSTS1002012"})
        if any(form.get(name) != self.credentials[name] for name in ("client_id", "client_secret")):
            return ApiAnswer(401, {"error": "invalid_client", "error_description": "AADSTS7000215"})
        return ApiAnswer(
            200, {"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": _TOKEN}
        )

    def _contact(self, contact_id: str, request: ApiRequest) -> ApiAnswer:
        row = self.records.get(contact_id.lower())
        if row is None and not _GUID.fullmatch(contact_id):
            return _refusal(400, "0x80060888", "The key is not a GUID.")
        if row is None:
            return _refusal(404, "0x80040217", f"Entity 'Contact' With Id = {contact_id} Does Not Exist")
        names = [name for name in request.query.get("$select", "").split(",") if name]
        for name in names:
            if name not in _COLUMNS and not _OWN.fullmatch(name):
                return _refusal(400, "0x0", f"Could not find a property named '{name}' on the type contact.")
        about = request.headers.get("prefer") == _ABOUT_LOOKUPS
        return ApiAnswer(
            200, {"@odata.etag": 'W/"1234567"', "contactid": contact_id.lower(), **_chosen(row, names, about=about)}
        )


def _chosen(row: dict[str, Any], names: list[str], *, about: bool) -> dict[str, Any]:
    """Return the chosen columns of a row, null where it has none, and the tables of its lookups where asked."""
    found: dict[str, Any] = {}
    for name in names or [name for name in row if "@" not in name]:
        found[name] = row.get(name)
        found |= {key: value for key, value in row.items() if about and key.startswith(f"{name}@")}
    return found


def _refusal(status: int, code: str, message: str) -> ApiAnswer:
    return ApiAnswer(status, {"error": {"code": code, "message": message}})
