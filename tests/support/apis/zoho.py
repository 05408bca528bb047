"""Zoho CRM's API of one organization, as far as contacts can be read through it, and Zoho's token endpoint.

https://www.zoho.com/crm/developer/docs/api/v8/get-records.html
https://www.zoho.com/crm/developer/docs/api/v8/refresh.html
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs

from tests.support.apis.base import ApiAnswer, ApiRequest

IDS_MAX: Final = 100
FIELDS_MAX: Final = 50
PER_PAGE: Final = 200


class Api:
    """An organization with its contacts, and the client that may read them."""

    def __init__(self) -> None:
        self.credentials: Mapping[str, str] = {
            "client_id": "1000.GMB0YULZHJK411248S8I5GZ4CHUEX0",
            "client_secret": "122c324d3496d5d777ceeebc129470715fbb856b7a",
            "refresh_token": "1000.18e983526f0ca8575ea9c53b0cd5bb58.1bd83a6f2e22c3a7e1309d96ae439cc1",
        }
        self.token = "1000.2deaf8d0c268e3c85daa2a013a843b10.703adef2bb337b8ca36cfc5d7b83cf24"
        """The access token that is valid now."""
        self.records: dict[str, dict[str, Any]] = {}

    def answer(self, request: ApiRequest) -> ApiAnswer:
        """Answer as Zoho does: where something is asked comes first, then who asks, then what."""
        if request.path == "/oauth/v2/token":
            return self._token(request)
        if not request.path.startswith("/crm/v8/"):
            return _refusal(404, "INVALID_URL_PATTERN", "Please check if the URL trying to access is a correct one")
        if request.headers.get("authorization") != f"Zoho-oauthtoken {self.token}":
            return _refusal(401, "INVALID_TOKEN", "invalid oauth token")
        if request.path != "/crm/v8/Contacts":
            return _refusal(404, "INVALID_MODULE", "the module name given seems to be invalid")
        if request.method != "GET":
            return _refusal(405, "INVALID_REQUEST_METHOD", "The http request method type is not a valid one")
        return self._records(request.query)

    def _token(self, request: ApiRequest) -> ApiAnswer:
        if request.method != "POST":
            return ApiAnswer(405, {"error": "invalid_request"})
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        if form.pop("grant_type", None) != "refresh_token":
            return ApiAnswer(200, {"error": "unsupported_grant_type"})
        if form.get("client_id") != self.credentials["client_id"]:
            return ApiAnswer(200, {"error": "invalid_client"})
        if form.get("client_secret") != self.credentials["client_secret"]:
            return ApiAnswer(200, {"error": "invalid_client_secret"})
        if form != self.credentials:
            return ApiAnswer(200, {"error": "invalid_code"})
        token = {"access_token": self.token, "scope": "ZohoCRM.modules.contacts.READ", "token_type": "Bearer"}
        return ApiAnswer(200, {**token, "api_domain": "https://www.zohoapis.com", "expires_in": 3600})

    def _records(self, query: Mapping[str, str]) -> ApiAnswer:
        ids = query["ids"].split(",") if "ids" in query else list(self.records)
        names = query["fields"].split(",") if "fields" in query else None
        if names is None and "ids" not in query:
            return _refusal(400, "REQUIRED_PARAM_MISSING", "One of the expected parameter is missing")
        if len(ids) > IDS_MAX or (names is not None and len(names) > FIELDS_MAX):
            return _refusal(400, "LIMIT_EXCEEDED", "the given limit is exceeded")
        there = [self.records[one] for one in ids if one in self.records][: int(query.get("per_page", PER_PAGE))]
        if not there:
            return ApiAnswer(204)
        data = [
            record if names is None else {name: record.get(name) for name in dict.fromkeys([*names, "id"])}
            for record in there
        ]
        info = {"per_page": PER_PAGE, "count": len(data), "page": 1, "more_records": False}
        return ApiAnswer(200, {"data": data, "info": info})


def _refusal(status: int, code: str, message: str) -> ApiAnswer:
    return ApiAnswer(status, {"code": code, "details": {}, "message": message, "status": "error"})
