"""Intercom's API of one workspace, as far as a contact can be read through it.

https://developers.intercom.com/docs/references/rest-api/api.intercom.io/contacts/showcontact
"""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

from tests.support.apis.base import ApiAnswer, ApiRequest

_PATH: Final = re.compile(r"/contacts/(?P<id>[^/]+)")
_VERSION: Final = re.compile(r"2\.(?:[0-9]|1[0-7])")
_ME: Final = {
    "type": "admin",
    "id": "5283914",
    "name": "Zoë Lindqvist",
    "email": "zoe.lindqvist@northwind.example",
    "app": {"type": "app", "id_code": "nw4tq2d7", "name": "Northwind", "region": "US"},
}


class Api:
    """A workspace with its contacts, and the app that may read them."""

    def __init__(self) -> None:
        self.credentials: Mapping[str, str] = {"token": "dG9rOjViN2E0YzE5XzNmZDhfNGUwMl9hMTdjXzlkMGU2ZjJiOGM0MToxOjA="}
        self.records: dict[str, dict[str, Any]] = {}

    def answer(self, request: ApiRequest) -> ApiAnswer:
        """Answer as Intercom does: who asks comes first, then in which version, then what there is."""
        if request.headers.get("authorization") != f"Bearer {self.credentials['token']}":
            return _refusal(401, "unauthorized", "Access Token Invalid")
        if not _VERSION.fullmatch(request.headers.get("intercom-version", "2.0")):
            return _refusal(400, "intercom_version_invalid", "The requested version could not be found")
        asked = _PATH.fullmatch(request.path)
        if asked is None and request.path != "/me":
            return _refusal(404, "not_found", "The requested resource was not found")
        if request.method != "GET":
            return _refusal(405, "method_not_allowed", "The method is not allowed")
        if asked is None:
            return ApiAnswer(200, _ME)
        record = self.records.get(unquote(asked["id"]))
        return _refusal(404, "not_found", "User Not Found") if record is None else ApiAnswer(200, record)


def _refusal(status: int, code: str, message: str) -> ApiAnswer:
    errors = [{"code": code, "message": message}]
    return ApiAnswer(status, {"type": "error.list", "request_id": "00179e1ea8sddg8n9n6g", "errors": errors})
